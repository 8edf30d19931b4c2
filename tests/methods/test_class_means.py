"""Mean inputs of classes and of a regression's grid values, sequences position by position."""

import torch

from equimodal.methods.class_means import ClassMeans
from equimodal.models.padded import Padded, lengths_mask
from equimodal.objectives import Classification, Regression
from equimodal.settings.regression import RegressionSettings


def test_positions_are_averaged_over_the_samples_that_have_them() -> None:
    values = torch.arange(5 * 3, dtype=torch.float64).view(5, 3, 1) + 1
    lengths, labels = torch.tensor([3, 1, 2, 0, 1]), torch.tensor([0, 0, 0, 1, 1])
    values[3:, 1:] = torch.nan  # padding, whatever it holds
    found = ClassMeans(Classification(2))
    for part in (slice(0, 2), slice(2, 5)):
        found.add({"text": Padded(values[part], lengths_mask(lengths[part], 3))}, labels[part])
    means = found.result()["text"]
    assert isinstance(means, Padded)
    # Class 0 has lengths 3, 1, 2: its third step is one sample's and left out.
    # Class 1: the empty sample says nothing about lengths.
    assert means.mask.tolist() == [[True, True, False], [True, False, False]]
    assert means.values[0].flatten().tolist() == [(1 + 4 + 7) / 3, (2 + 8) / 2, 0] and means.values[
        1
    ].flatten().tolist() == [13, 0, 0]


def test_a_class_without_any_step_has_an_empty_prototype() -> None:
    found = ClassMeans(Classification(2))
    found.add({"text": Padded(torch.ones(2, 3, 1), lengths_mask(torch.tensor([2, 0]), 3))}, torch.tensor([0, 1]))
    means = found.result()["text"]
    assert isinstance(means, Padded) and means.mask.sum(1).tolist() == [2, 0] and means.values[1].abs().sum() == 0


def test_a_grid_value_that_no_sample_reaches_lies_between_its_neighbours() -> None:
    """Its sequence too: both neighbours have two steps, one of them three."""
    objective = Regression(RegressionSettings(low=0, high=2, points=3, threshold=1))
    found = ClassMeans(objective, torch.float64)
    values = torch.tensor([[1.0, 1.0, 1.0], [3.0, 5.0, 9.0]]).view(2, 3, 1)
    found.add(
        {"text": Padded(values, lengths_mask(torch.tensor([3, 2]), 3)), "facts": values[:, 0]}, torch.tensor([0.0, 2.0])
    )
    text, facts = found.result()["text"], found.result()["facts"]
    assert isinstance(text, Padded) and facts.flatten().tolist() == [1, 2, 3]  # type: ignore[union-attr]
    assert (
        text.values[1, :2].flatten().tolist() == [2, 3]
        and text.mask[0].tolist() == [True] * 3
        and text.mask[2].tolist() == [True, True, False]
    )
