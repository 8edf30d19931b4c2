"""Classification and regression: what each asks of the loop, and where the second becomes the first."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from equimodal.errors import UserError
from equimodal.objectives import Classification, Regression, by_target, objective_of
from equimodal.settings.regression import RegressionSettings

SETTINGS = {"low": -3, "high": 3}


def regression(**changes) -> Regression:
    return Regression(RegressionSettings.read({**SETTINGS, **changes}, "regression"))


def test_manifests_say_which():
    assert isinstance(objective_of({"task": "classification", "classes": ["a", "b", "c"]}), Classification)
    made = objective_of({"task": "regression", "classes": [], "regression": {**SETTINGS, "points": 5, "loss": "mse"}})
    assert isinstance(made, Regression) and (made.classes, made.outputs, made.settings.loss) == (5, 1, "mse")


@pytest.mark.parametrize(("loss", "expected"), [("l1", (0.5 + 2) / 2), ("mse", (0.25 + 4) / 2)])
def test_losses(loss, expected):
    found = regression(loss=loss).loss(torch.tensor([[1.0], [-2.0]]), torch.tensor([0.5, 0.0]))
    assert float(found) == pytest.approx(expected)


def test_half_precision_outputs_meet_float_labels():
    for loss in ("l1", "mse"):
        logits = torch.tensor([[1.0], [-2.0]], dtype=torch.bfloat16, requires_grad=True)
        regression(loss=loss).loss(logits, torch.tensor([0.5, 0.0])).backward()
        assert logits.grad is not None and logits.grad.dtype == torch.bfloat16


def test_grid():
    settings = RegressionSettings(low=-3, high=3)
    assert settings.grid == [-3, -2, -1, 0, 1, 2, 3] and settings.names == ["-3", "-2", "-1", "0", "1", "2", "3"]
    assert RegressionSettings(low=0, high=0.3, points=4, threshold=0.1).names == ["0", "0.1", "0.2", "0.3"]


@pytest.mark.parametrize(
    "changes", [{}, {"points": 5}, {"points": 4}, {"low": 0.5, "high": 4.5, "points": 9, "threshold": 1}]
)
def test_nearest_grid_value(changes):
    settings = RegressionSettings(**{**SETTINGS, **changes})
    values = np.random.default_rng(0).uniform(-6, 6, 500)
    expected = np.abs(values[:, None] - np.array(settings.grid)).argmin(1)
    assert [settings.nearest(value) for value in values] == expected.tolist()
    assert Regression(settings).class_ids(torch.from_numpy(values)).tolist() == expected.tolist()


def test_whole_grids_round_as_the_literature():
    values = np.arange(-4, 4.01, 0.25)
    expected = (np.round(np.clip(values, -3, 3)) + 3).astype(int).tolist()
    assert [RegressionSettings(**SETTINGS).nearest(value) for value in values] == expected
    assert regression().class_ids(torch.from_numpy(values)).tolist() == expected


def test_memberships_interpolate_linearly():
    labels = torch.tensor([-3, -2.9, 0.25, 1.5, 2.999, 3], dtype=torch.float64)
    weights = regression().memberships(labels)
    assert torch.equal(weights >= 0, torch.ones_like(weights, dtype=torch.bool))
    torch.testing.assert_close(weights.sum(1), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(weights @ torch.tensor(RegressionSettings(**SETTINGS).grid, dtype=torch.float64), labels)
    torch.testing.assert_close(weights[2], torch.tensor([0, 0, 0, 0.75, 0.25, 0, 0], dtype=torch.float64))


@pytest.mark.parametrize("bandwidth", [1, 2, 3.5])
def test_memberships_are_the_normalised_hat(bandwidth):
    made = regression(bandwidth=bandwidth, points=13)
    labels = np.random.default_rng(1).uniform(-3, 3, 40)
    hat = np.maximum(0, 1 - np.abs(labels[:, None] - np.linspace(-3, 3, 13)) / (bandwidth * 0.5))
    np.testing.assert_allclose(
        made.memberships(torch.from_numpy(labels)).numpy(), hat / hat.sum(1, keepdims=True), atol=1e-12
    )


def test_labels_on_the_grid_are_one_hot():
    made = regression(low=0, high=1, points=11, threshold=0.5)
    labels = torch.tensor([0.3, 0.0, 0.7, 1.0])  # float32, beside the grid by rounding
    assert torch.equal(made.memberships(labels), functional.one_hot(made.class_ids(labels), 11).float())


def test_targets_by_id_and_by_weight_agree():
    values = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ids = torch.tensor([0, 3, 1, 1, 2])
    assert torch.equal(by_target(values, ids), by_target(values, functional.one_hot(ids, 4).double()))


def test_members_and_means():
    made = regression(low=0, high=3, points=4, threshold=1)
    labels, x = (
        torch.tensor([0.0, 0.5, 3.0], dtype=torch.float64),
        torch.tensor([[2.0, 1], [4.0, 5], [7.0, 0]], dtype=torch.float64),
    )
    totals = torch.zeros(4, 2, dtype=torch.float64)
    made.add_members(totals, labels, x)
    counts = made.counts(labels)
    assert counts.tolist() == [1.5, 0.5, 0, 1]
    found = made.means(totals, counts)
    # value 2 is reached by none: between its neighbours
    expected = [
        [(2 + 2) / 1.5, (1 + 2.5) / 1.5],
        [4, 5],
        [(4 + 7) / 2, 2.5],
        [7, 0],
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_ends_that_no_sample_reaches_take_the_nearest_mean():
    made = regression()
    counts = torch.tensor([0, 0, 2, 0, 1, 0, 0], dtype=torch.float64)
    found = made.means(torch.tensor([[0], [0], [4.0], [0], [8.0], [0], [0]], dtype=torch.float64), counts)
    assert found.flatten().tolist() == [2, 2, 2, 5, 8, 8, 8]


def test_members_on_the_grid_are_classifications():
    classes, numbers = Classification(7), regression()
    ids = torch.tensor([0, 3, 6, 3, 1, 2, 4, 5])
    x = torch.randn(8, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    totals = torch.zeros(2, 7, 3, 2, dtype=torch.float64)
    classes.add_members(totals[0], ids, x)
    numbers.add_members(totals[1], ids.double() - 3, x)
    torch.testing.assert_close(totals[0], totals[1])
    assert torch.equal(classes.counts(ids), numbers.counts(ids.double() - 3))


def test_selection_prefers():
    assert Classification(3).rank({"val/accuracy": 0.5, "val/loss": 1.0}, "val") == [0.5, -1.0]
    assert regression().rank({"test/mae": 0.5, "test/loss": 0.3}, "test") == [-0.5, -0.3]


def test_prototypes_told_apart():
    made = regression()
    straight = torch.tensor(RegressionSettings(**SETTINGS).grid)[:, None]
    assert {name: float(value) for name, value in made.told_apart(straight).items()} == {"accuracy": 1, "order": 1}
    shrunk = made.told_apart(0.3 * straight)  # a regression to the mean keeps the order
    assert float(shrunk["accuracy"]) < 0.5 and float(shrunk["order"]) == 1
    assert float(made.told_apart(-straight)["order"]) == 0 == float(made.told_apart(0 * straight)["order"])


def test_measures_of_an_epoch():
    made = regression()
    labels = torch.tensor([-3.0, 0.4, 2.6])
    found = made.measures(torch.tensor([[-2.0], [0.2], [9.0]]), {"audio": labels[:, None]}, labels, "val")
    assert found["val/mae"] == pytest.approx((1 + 0.2 + 6.4) / 3) and found["val/loss"] == pytest.approx(
        found["val/mae"]
    )
    assert found["val/accuracy"] == pytest.approx(2 / 3)  # 9 is read as 3, the end of the grid
    assert found["val/audio/mae"] == 0 and found["val/audio/accuracy"] == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"low": 3}, "must be below high"),
        ({"threshold": -3}, "threshold"),
        ({"bandwidth": 0.5}, "bandwidth"),
        ({"points": 1}, "points"),
    ],
)
def test_settings_that_make_no_grid(changes, words):
    with pytest.raises(UserError, match=words):
        regression(**changes)
