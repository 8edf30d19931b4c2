"""How far probabilities are from what they promise."""

from typing import Any

import torch
from torch import Tensor

BINS = 15


def calibration(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> dict[str, Any]:
    """Expected calibration error (Guo and others, ICML 2017, Eq. 3): the mean over samples of |accuracy - confidence|
    of their bin, confidence being the highest probability, bins of equal width (from above, up to and with its end).

    Args:
        probabilities: [n, K].
        labels: [n] classes.

    Returns:
        {"ece", "count" [bins], "confidence" [bins], "accuracy" [bins]}; the means of an empty bin are None.
    """
    confidence, predicted = probabilities.double().max(1)
    right = (predicted == labels).double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    count = torch.bincount(place, minlength=bins)
    sums = [torch.zeros(bins, dtype=torch.float64).index_add_(0, place, each) for each in (confidence, right)]
    gaps = (sums[0] - sums[1]).abs().sum() / len(labels)
    means = [
        [float(total / number) if number else None for total, number in zip(each, count, strict=True)] for each in sums
    ]
    return {"ece": float(gaps), "count": count.tolist(), "confidence": means[0], "accuracy": means[1]}
