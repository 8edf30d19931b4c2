"""McNemar's test: whether two models differ on the very samples of a test split."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Discordance:
    """Test samples that one of two models gets right and the other does not.

    Attributes:
        first, second: samples that only the first (the second) gets right.
        both, neither: the others.
        p: exact, two-sided (binomial, 1/2): of models equally often right, the chance of numbers as unequal.
    """

    first: int
    second: int
    both: int
    neither: int
    p: float


def discordance(first: Sequence[bool], second: Sequence[bool]) -> Discordance:
    """McNemar (1947) in its exact form, of which samples two models get right, in one order.

    It is about the samples: whether other samples of the same kind would show the difference, between these very
    models. Seeds are another question (`report.paired`).
    """
    from scipy.stats import binomtest

    pairs = list(zip(first, second, strict=True))
    only_first = sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    both = sum(a and b for a, b in pairs)
    split = only_first + only_second
    p = float(binomtest(only_first, split).pvalue) if split else 1.0
    return Discordance(only_first, only_second, both, len(pairs) - both - split, p)
