"""Splits that are too small for a number measured on them to say something, in words."""

import sys
from collections.abc import Mapping

from equimodal.metrics.chance import half_width

# Below these a split is called too small: clips in all, clips of a class.
FEWEST, FEWEST_OF_CLASS = 30, 2
# Classes named in a line.
NAMED = 3
_SPLITS = {
    "val": ("validation", "an epoch or a setting chosen on it is chosen by chance"),
    "test": ("test", "methods cannot be told apart by it"),
}


def small_splits(counts: Mapping[str, Mapping[str, int]], by_class: bool = True) -> list[str]:
    """A line for each of validation and test that is too small, in all or in some class.

    Args:
        counts: split -> class -> samples; other splits are passed over.
        by_class: whether classes matter; the grid values of a regression do not.
    """
    lines = []
    for split, (name, consequence) in _SPLITS.items():
        row = counts.get(split, {})
        total = sum(row.values())
        if 0 < total < FEWEST:
            lines.append(
                f"{name} has {total} samples (under {FEWEST}): chance alone moves an accuracy on it by"
                f" ±{100 * half_width(total):.0f} points; {consequence}"
            )
        few = {label: number for label, number in row.items() if number < FEWEST_OF_CLASS} if by_class else {}
        if few and total:
            told = ", ".join(f"{label} {number}" for label, number in list(few.items())[:NAMED])
            more = f" and {len(few) - NAMED} more" if len(few) > NAMED else ""
            lines.append(
                f"{name} has fewer than {FEWEST_OF_CLASS} samples of {len(few)} of {len(row)} classes ({told}{more}):"
                " their recall, and macro-F1 with it, says little"
            )
    return lines


def warn_of_small_splits(counts: Mapping[str, Mapping[str, int]], dataset: str, by_class: bool = True) -> None:
    """Print these lines, where the splits are made; the result has them, too."""
    for line in small_splits(counts, by_class):
        print(f"warning: {dataset}: {line} (datasets.{dataset}.split, or more data)", file=sys.stderr)
