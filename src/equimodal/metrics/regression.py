"""Measures of a regression: errors, correlation, and the two-class accuracies that sentiment papers report."""

import torch
from torch import Tensor

from equimodal.metrics.classification import accuracy, confusion, macro_f1

NAMES = ("mae", "rmse", "pearson", "binary_accuracy", "binary_f1", "nonzero_accuracy", "nonzero_f1")


def errors(predictions: Tensor, labels: Tensor, threshold: float) -> dict[str, float | None]:
    """Measures (NAMES) of predictions [n] against labels [n].

    `binary_*`: classes "at or above the threshold" and "below"; `nonzero_*`: samples labelled exactly the threshold
    left out, and what is above counts as positive (the literature's negative/positive). F1 is the macro average. None
    where a measure is not defined: a correlation of constants, no sample left.
    """
    found, truth = predictions.double(), labels.double()
    apart = found - truth
    kept = labels != threshold
    with_ties = confusion((predictions >= threshold).long(), (labels >= threshold).long(), 2)
    without = (
        confusion((predictions[kept] > threshold).long(), (labels[kept] > threshold).long(), 2)
        if bool(kept.any())
        else None
    )
    return {
        "mae": float(apart.abs().mean()),
        "rmse": float(apart.square().mean().sqrt()),
        "pearson": pearson(found, truth),
        "binary_accuracy": accuracy(with_ties),
        "binary_f1": macro_f1(with_ties),
        "nonzero_accuracy": None if without is None else accuracy(without),
        "nonzero_f1": None if without is None else macro_f1(without),
    }


def pearson(a: Tensor, b: Tensor) -> float | None:
    """Correlation of a [n] and b [n]; None when either is constant."""
    if bool((a == a[0]).all()) or bool((b == b[0]).all()):
        return None
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    size = (a.square().sum() * b.square().sum()).sqrt()
    return float(torch.clamp((a * b).sum() / size, -1, 1)) if size > 0 else None
