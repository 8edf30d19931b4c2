"""Labels of a regression: numbers read from the samples' labels, checked, and seen as classes (the nearest grid value)
where a split needs classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from equimodal.datasets.base import Listing
from equimodal.errors import UserError
from equimodal.settings.regression import RegressionSettings

SPLITS = ("train", "val", "test")


def values_of(listing: Listing, settings: RegressionSettings, dataset: str) -> dict[str, float]:
    """Sample id -> its number.

    Raises:
        UserError: a label that is no number, or labels out of range; names the sample and its label.
    """
    values: dict[str, float] = {}
    for sample in sorted(listing.samples, key=lambda sample: sample.id):
        try:
            value = float(sample.label)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(
                f"{dataset}: label '{sample.label}' of sample {sample.id} is no number, but"
                f" datasets.{dataset}.task is regression"
            )
        if not settings.low <= value <= settings.high:
            raise UserError(
                f"{dataset}: labels out of range: {value:g} (sample {sample.id}) is not in [{settings.low:g},"
                f" {settings.high:g}]: mend the label, or change datasets.{dataset}.regression.low and .high"
            )
        values[sample.id] = value
    return values


def as_classes(listing: Listing, values: Mapping[str, float], settings: RegressionSettings) -> Listing:
    """The listing with the nearest grid value of every sample for its class: what a stratified split divides."""
    names = settings.names
    return replace(
        listing,
        classes=tuple(names),
        samples=[replace(s, label=names[settings.nearest(values[s.id])]) for s in listing.samples],
    )


def counts(
    labels: Sequence[float], splits: Sequence[str], settings: RegressionSettings, dataset: str
) -> dict[str, dict[str, int]]:
    """Samples by split and nearest grid value; a value may be absent, since the loss needs none of them.

    Raises:
        UserError: a split without samples, or training labels that are all the same: there is nothing to learn.
    """
    table = {split: dict.fromkeys(settings.names, 0) for split in SPLITS}
    for label, split in zip(labels, splits, strict=True):
        table[split][settings.names[settings.nearest(label)]] += 1
    for split, row in table.items():
        if not any(row.values()):
            raise UserError(
                f"{dataset}: no sample in split '{split}': change datasets.{dataset}.split (fold, seed,"
                " validation) or the data"
            )
    training = {label for label, split in zip(labels, splits, strict=True) if split == "train"}
    if len(training) < 2:
        raise UserError(
            f"{dataset}: every training label is {training.pop():g}: there is nothing to learn; check the label column"
        )
    return table
