"""Labels that are numbers: read, checked, and seen as classes for a split."""

import pytest

from equimodal.datasets import targets
from equimodal.datasets.base import Listing, Sample
from equimodal.errors import UserError
from equimodal.settings.regression import RegressionSettings

SETTINGS = RegressionSettings(low=-3, high=3)


def listing(*labels: str) -> Listing:
    return Listing(("a", "b"), [Sample(f"clip{i}", label, {"audio": "x.wav"}) for i, label in enumerate(labels)])


def test_labels_are_numbers():
    found = targets.values_of(listing("-3", "0.2", " 2.6 ", "3.0"), SETTINGS, "d")
    assert found == {"clip0": -3.0, "clip1": 0.2, "clip2": 2.6, "clip3": 3.0}


@pytest.mark.parametrize("label", ["happy", "", "nan", "inf"])
def test_what_is_no_number_is_named(label):
    with pytest.raises(
        UserError, match=f"label '{label}' of sample clip1 is no number, but datasets.d.task is regression"
    ):
        targets.values_of(listing("1", label), SETTINGS, "d")


@pytest.mark.parametrize("label", ["3.01", "-4"])
def test_labels_out_of_range_are_named(label):
    with pytest.raises(UserError, match=rf"labels out of range: {label} \(sample clip1\) is not in \[-3, 3\]"):
        targets.values_of(listing("1", label), SETTINGS, "d")


def test_classes_are_the_nearest_grid_values():
    given = listing("-2.9", "0.4", "0.6")
    seen = targets.as_classes(given, targets.values_of(given, SETTINGS, "d"), SETTINGS)
    assert seen.classes == ("-3", "-2", "-1", "0", "1", "2", "3") and [sample.label for sample in seen.samples] == [
        "-3",
        "0",
        "1",
    ]
    assert [sample.id for sample in seen.samples] == [sample.id for sample in given.samples]


def test_counts_by_nearest_value_and_absent_values_are_no_fault():
    table = targets.counts([-2.9, 1.1, 0.0, 2.9], ["train", "train", "val", "test"], SETTINGS, "d")
    assert table["train"] == {"-3": 1, "-2": 0, "-1": 0, "0": 0, "1": 1, "2": 0, "3": 0} and table["test"]["3"] == 1


def test_an_empty_split_and_constant_labels_are_refused():
    with pytest.raises(UserError, match="no sample in split 'val'"):
        targets.counts([1.0, 2.0, 0.0], ["train", "train", "test"], SETTINGS, "d")
    with pytest.raises(UserError, match=r"every training label is 1\.5: there is nothing to learn"):
        targets.counts([1.5, 1.5, 2.0, 0.0], ["train", "train", "val", "test"], SETTINGS, "d")
