"""The paired t test against SciPy's own, and Holm's correction by hand."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import made_results
from equimodal.errors import UserError
from equimodal.report.paired import holm, paired, paired_results


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


def test_results_are_paired_by_common_seeds():
    ours, base = made_results.made("aim", seeds=4), made_results.made("joint", seeds=3)
    later = base.model_copy(update={"seeds": [1, 3, 9]})
    difference, seeds = paired_results(ours, later)
    a, b = ours.selection.val.accuracy.per_seed, base.selection.val.accuracy.per_seed
    assert seeds == [1, 3]
    assert difference == paired([a[1], a[3]], [b[0], b[1]])
    with pytest.raises(UserError, match="none in common"):
        paired_results(ours, base.model_copy(update={"seeds": [7, 8, 9]}))


def test_results_on_other_data_are_not_compared():
    base = made_results.made("joint")
    other = base.model_copy(update={"data": base.data.model_copy(update={"digest": "e" * 64})})
    with pytest.raises(UserError, match="different data"):
        paired_results(made_results.made("aim"), other)


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04 are times 4, 3, 2, 1: .02 .03 .06 and .04, which may not fall below .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_none_and_bonferroni(ps):
    corrected = holm(ps)
    assert all(p <= c <= min(1.0, len(ps) * p) for p, c in zip(ps, corrected, strict=True))
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    assert all(corrected[i] <= corrected[j] for i, j in pairwise(order))
