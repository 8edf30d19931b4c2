"""Two results compared seed by seed: Student's paired t test, and Holm's correction for comparing many."""

from collections.abc import Sequence
from dataclasses import dataclass

from equimodal.errors import UserError
from equimodal.report.result import Result, Spread


@dataclass(frozen=True)
class Difference:
    """Mean difference over seeds, its 95 % interval, and the two-sided p; None for a single seed."""

    mean: float
    interval95: tuple[float, float] | None
    p: float | None


def paired(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """values minus baseline, paired by seed (paired t test, n - 1 degrees of freedom).

    A difference that is the same for every seed has no spread to test against: p is 0, or 1 when it is 0.
    """
    from scipy.special import stdtr, stdtrit

    if len(values) != len(baseline):
        raise UserError(f"paired comparison needs the same seeds on both sides, got {len(values)} and {len(baseline)}")
    differences = [value - other for value, other in zip(values, baseline, strict=True)]
    count = len(differences)
    mean = sum(differences) / count
    if count < 2:
        return Difference(mean, None, None)
    error = (sum((d - mean) ** 2 for d in differences) / (count - 1) / count) ** 0.5
    if error == 0:
        return Difference(mean, (mean, mean), 1.0 if mean == 0 else 0.0)
    reach = float(stdtrit(count - 1, 0.975)) * error
    return Difference(mean, (mean - reach, mean + reach), 2 * float(stdtr(count - 1, -abs(mean) / error)))


def judged(result: Result) -> Spread:
    """What a result is compared by: accuracy; of a regression the mean absolute error."""
    errors = result.selection.val.errors
    return result.selection.val.accuracy if errors is None else errors.mae


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
    return paired([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]), seeds


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
