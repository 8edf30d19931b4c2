"""Mean, deviation and interval over seeds."""

import numpy as np
import pytest
from scipy import stats

from equimodal.metrics.spread import interval95, sample_std


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_interval_is_scipys_t_interval(n):
    values = np.random.default_rng(n).normal(0.8, 0.02, n).tolist()
    low, high = interval95(values)
    expected = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=1e-12)
    assert sample_std(values) == pytest.approx(np.std(values, ddof=1), abs=1e-14)


def test_one_seed_has_no_spread():
    assert sample_std([0.5]) is None
    assert interval95([0.5]) is None
