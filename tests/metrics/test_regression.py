"""Errors and correlation against NumPy, SciPy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from equimodal.evaluation.probe import fit_linear_probe
from equimodal.metrics.regression import NAMES, errors, pearson


def test_errors_are_the_references():
    draw = np.random.default_rng(0)
    labels = np.round(draw.uniform(-3, 3, 200))
    found = labels + draw.normal(size=200)
    measured = errors(torch.from_numpy(found), torch.from_numpy(labels), 0.0)
    kept = labels != 0
    assert tuple(measured) == NAMES and 0 < kept.sum() < 200
    assert measured["mae"] == pytest.approx(reference.mean_absolute_error(labels, found))
    assert measured["rmse"] == pytest.approx(reference.mean_squared_error(labels, found) ** 0.5)
    assert measured["pearson"] == pytest.approx(np.corrcoef(found, labels)[0, 1])
    assert measured["binary_accuracy"] == reference.accuracy_score(labels >= 0, found >= 0)
    assert measured["binary_f1"] == pytest.approx(reference.f1_score(labels >= 0, found >= 0, average="macro"))
    assert measured["nonzero_accuracy"] == reference.accuracy_score(labels[kept] > 0, found[kept] > 0)
    assert measured["nonzero_f1"] == pytest.approx(
        reference.f1_score(labels[kept] > 0, found[kept] > 0, average="macro")
    )


def test_what_is_not_defined_is_none():
    labels = torch.tensor([0.0, 1.0, 2.0])
    constant = errors(torch.full((3,), 0.1), labels, 0.0)
    assert constant["pearson"] is None and constant["mae"] == pytest.approx((0.1 + 0.9 + 1.9) / 3)
    nothing_left = errors(labels, torch.zeros(3), 0.0)
    assert (
        nothing_left["nonzero_accuracy"] is None
        and nothing_left["nonzero_f1"] is None
        and nothing_left["pearson"] is None
    )
    assert pearson(labels, 3 - 2 * labels) == -1


def test_threshold_is_where_positive_begins():
    labels = torch.tensor([0.5, 1.0, 1.5])
    measured = errors(torch.tensor([0.9, 1.0, 1.1]), labels, 1.0)
    assert measured["binary_accuracy"] == 1 and measured["nonzero_accuracy"] == 1
    assert errors(torch.tensor([0.9, 0.9, 1.1]), labels, 1.0)["binary_accuracy"] == pytest.approx(2 / 3)


def test_linear_probe_is_ridge_regression():
    from sklearn.linear_model import Ridge

    draw = np.random.default_rng(1)
    x = draw.normal(2, 3, (60, 4))
    x[:, 3] = 1.0  # a dead feature
    y = x @ [0.5, -1, 0, 0] + 2 + 0.1 * draw.normal(size=60)
    train = (torch.from_numpy(x), torch.from_numpy(y))
    probe = fit_linear_probe(train, train, (0.3,))
    scaled = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    expected = Ridge(alpha=0.3 * 60).fit(scaled, y).predict(scaled)
    np.testing.assert_allclose(probe.predict(train[0]).numpy(), expected, atol=1e-9)
    assert fit_linear_probe(train, train).penalty == 1e-4  # the one that fits best here
