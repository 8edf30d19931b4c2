"""What chance alone does to an accuracy that is measured on a number of clips, with a number of seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from equimodal.metrics.spread import CONFIDENCE


@dataclass(frozen=True)
class Difference:
    """Of two accuracies: first minus second, its 95 % interval, and the two-sided p of none."""

    mean: float
    interval95: tuple[float, float]
    p: float


def half_width(samples: int) -> float:
    """Half of the widest 95 % interval of an accuracy on so many samples (that of one half; normal approximation)."""
    return min(0.5, 1.96 * 0.5 / math.sqrt(samples))


def apart(first: Sequence[float], second: Sequence[float], samples: tuple[int, int]) -> Difference:
    """Whether accuracies on two sets of clips differ by more than other clips and other seeds would make them.

    Models that differ in their seed err on the same clips, so that seeds add no clips: the variance over clips is taken
    as that of one model, the largest that means over seeds can have. To it comes the variance of the seeds' differences
    over the number of seeds. Proportions are shrunk as Agresti and Caffo (American Statistician 54(4), 2000) do, which
    keeps the level for few clips and accuracies near 1; degrees of freedom are Welch's and Satterthwaite's. With one
    seed the test is over clips alone.

    Args:
        first, second: accuracy of each seed in [0, 1] on the first and the second set, in the same order.
        samples: clips of the two sets.
    """
    from scipy.special import stdtr, stdtrit

    shrunk = [(size * fmean(values) + 1) / (size + 2) for values, size in zip((first, second), samples, strict=True)]
    over_clips = sum(p * (1 - p) / (size + 2) for p, size in zip(shrunk, samples, strict=True))
    seeds = len(first)
    over_seeds = variance([a - b for a, b in zip(first, second, strict=True)]) / seeds if seeds > 1 else 0.0
    error = math.sqrt(over_clips + over_seeds)
    freedom = (seeds - 1) * (error**2 / over_seeds) ** 2 if over_seeds else math.inf
    # scipy's t of so many degrees is the normal one, and of infinitely many none at all
    freedom = min(freedom, 1e9)
    middle = shrunk[0] - shrunk[1]
    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(middle) / error))
    return Difference(fmean(first) - fmean(second), (middle - half, middle + half), p)
