"""Two results compared seed by seed: Student's paired t test, and Holm's correction for comparing many."""

from collections.abc import Sequence
from dataclasses import dataclass

from equimodal.errors import UserError
from equimodal.report.result import Result, Spread

ROUNDING = 1e-12  # of the values: differences spread less than this are equal, up to the rounding of float64


@dataclass(frozen=True)
class Difference:
    """Mean difference over seeds, its 95 % interval, and the two-sided p; None for a single seed."""

    mean: float
    interval95: tuple[float, float] | None
    p: float | None


def paired(values: Sequence[float], baseline: Sequence[float], resolution: float = 0.0) -> Difference:
    """values minus baseline, paired by seed (paired t test, n - 1 degrees of freedom).

    Measures on a grid (accuracies are multiples of 1 / clips) give equal differences by chance: of two equal methods on
    200 clips, two seeds agree to the clip in 3 to 10 of 100 studies, and a spread of 0 would call each of these
    significant. So the spread has a floor. A value read off the grid is off by up to half a step, evenly spread:
    variance resolution**2 / 12 (Sheppard). A difference of two has twice that, and no variance of differences below
    resolution**2 / 6 can be told from reading the grid. Where seeds spread wider than that, nothing changes.

    Args:
        values, baseline: one number per seed, the same seeds in the same order.
        resolution: the grid's step, in the unit of the values; 0 for a measure without one (a mean absolute error).
            There a difference that is the same for every seed (to float rounding) says nothing of other seeds: p is 1,
            and there is no interval.

    Raises:
        UserError: unequal numbers of seeds.
    """
    from scipy.special import stdtr, stdtrit

    if len(values) != len(baseline):
        raise UserError(f"paired comparison needs the same seeds on both sides, got {len(values)} and {len(baseline)}")
    differences = [value - other for value, other in zip(values, baseline, strict=True)]
    count = len(differences)
    mean = sum(differences) / count
    if count < 2:
        return Difference(mean, None, None)
    variance = max(sum((d - mean) ** 2 for d in differences) / (count - 1), resolution**2 / 6)
    if variance**0.5 <= ROUNDING * max(map(abs, (*values, *baseline))):
        return Difference(mean, None, 1.0)
    error = (variance / count) ** 0.5
    reach = float(stdtrit(count - 1, 0.975)) * error
    return Difference(mean, (mean - reach, mean + reach), 2 * float(stdtr(count - 1, -abs(mean) / error)))


def judged(result: Result) -> Spread:
    """What a result is compared by: accuracy; of a regression the mean absolute error."""
    errors = result.selection.val.errors
    return result.selection.val.accuracy if errors is None else errors.mae


def resolution(result: Result) -> float:
    """Smallest step of what a result is compared by: one clip's share of the accuracy; 0 for a mean absolute error."""
    return 0.0 if result.task == "regression" else 1 / result.data.samples["test"]


def paired_results(result: Result, baseline: Result) -> tuple[Difference, list[int]]:
    """Two results, `judged` by test at the epochs that validation chose, on the seeds that both have:
    (difference, those seeds).

    Raises:
        UserError: no seed in common, or other data or task.
    """
    if (result.data.digest, result.task) != (baseline.data.digest, baseline.task):
        raise UserError(
            f"{result.name} and {baseline.name} were measured on different data (data.digest, task): build"
            " both again before comparing them"
        )
    seeds = [seed for seed in result.seeds if seed in baseline.seeds]
    if not seeds:
        raise UserError(
            f"{result.name} has seeds {result.seeds}, {baseline.name} has {baseline.seeds}: none in common,"
            " run both with the same study.seeds"
        )
    ours, theirs = (dict(zip(r.seeds, judged(r).per_seed, strict=True)) for r in (result, baseline))
    return paired([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds], resolution(result)), seeds


def holm(ps: Sequence[float]) -> list[float]:
    """p values corrected for their number by Holm's step-down rule (Scand. J. Statist. 6, 1979), in the order given.

    The smallest of n is multiplied by n, the next by n - 1, ...; each at least the one before, none above 1.
    """
    corrected = [0.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = highest
    return corrected
