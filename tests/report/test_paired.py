"""The paired t test against SciPy's own."""

import pytest
from scipy import stats

from equimodal.errors import UserError
from equimodal.report.paired import paired


def test_agrees_with_scipy():
    ours, other = [0.91, 0.88, 0.93, 0.90, 0.87], [0.86, 0.87, 0.89, 0.84, 0.88]
    found = paired(ours, other)
    expected = stats.ttest_rel(ours, other)
    low, high = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.interval95 == (pytest.approx(low), pytest.approx(high))
    assert found.mean == pytest.approx(sum(ours) / 5 - sum(other) / 5)


def test_edges():
    assert paired([0.5], [0.4]).p is None
    assert paired([0.5, 0.75], [0.5, 0.75]).p == 1.0
    assert paired([0.75, 0.5], [0.5, 0.25]).p == 0.0
    with pytest.raises(UserError, match="same seeds"):
        paired([0.5, 0.6], [0.5])
