"""A number over seeds: mean, sample standard deviation, 95 % interval."""

import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95


def sample_std(values: Sequence[float]) -> float | None:
    """Standard deviation with n - 1 below the sum; None for a single value."""
    return statistics.stdev(values) if len(values) > 1 else None


def interval95(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of the mean: mean +- t_{0.975, n-1} std / sqrt(n); None for a single value.

    It covers the mean over seeds on this one split of the data, not over splits or datasets.
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # scipy.stats has it too and takes four times as long to import

    n = len(values)
    half = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * statistics.stdev(values) / math.sqrt(n)
    mean = statistics.fmean(values)
    return mean - half, mean + half
