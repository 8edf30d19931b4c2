"""Two results compared seed by seed: Student's paired t test."""

from collections.abc import Sequence
from dataclasses import dataclass

from equimodal.errors import UserError
from equimodal.report.result import Result


@dataclass(frozen=True)
class Difference:
    """Mean difference of accuracy over seeds, its 95 % interval, and the two-sided p; None for a single seed."""

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


def paired_results(result: Result, baseline: Result) -> Difference:
    """Test accuracy of two results at the epochs that validation chose."""
    if result.seeds != baseline.seeds:
        raise UserError(f"{result.name} has seeds {result.seeds}, {baseline.name} has {baseline.seeds}: run both with the same study.seeds")
    return paired(result.selection.val.accuracy.per_seed, baseline.selection.val.accuracy.per_seed)
