"""Splits on which numbers say little are called so."""

import pytest

from equimodal.datasets.small_splits import small_splits, warn_of_small_splits


def test_thirty_clips_with_two_of_each_class_are_enough() -> None:
    fair = {split: dict.fromkeys("abc", 10) for split in ("train", "val", "test")}
    assert small_splits(fair) == []
    assert small_splits({**fair, "train": {"a": 1, "b": 1, "c": 1}}) == []  # nothing is measured on it
    assert small_splits({**fair, "val": {"a": 2, "b": 14, "c": 14}}) == []
    assert small_splits({}) == [] and small_splits({"val": {}}) == []


def test_an_epoch_chosen_on_six_clips_is_chosen_by_chance() -> None:
    (line,) = small_splits({"val": {"a": 3, "b": 3}, "test": {"a": 15, "b": 15}})
    assert line == (
        "validation has 6 samples (under 30): chance alone moves an accuracy on it by ±40 points; an epoch or a"
        " setting chosen on it is chosen by chance"
    )
    (line,) = small_splits({"val": {"a": 15, "b": 15}, "test": {"a": 15, "b": 14}})
    assert line.startswith("test has 29 samples (under 30)") and "±18 points" in line


def test_classes_with_a_sample_or_none_are_named() -> None:
    row = {"a": 40, "b": 1, "c": 0, "d": 1, "e": 1}
    (line,) = small_splits({"test": row})
    assert line.startswith("test has fewer than 2 samples of 4 of 5 classes (b 1, c 0, d 1 and 1 more): their recall")
    assert small_splits({"test": row}, by_class=False) == []


def test_the_warning_names_dataset_and_setting(capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_small_splits({"val": {"a": 3, "b": 3}}, "mine")
    err = capsys.readouterr().err
    assert err.startswith("warning: mine: validation has 6 samples") and err.endswith(
        "(datasets.mine.split, or more data)\n"
    )
