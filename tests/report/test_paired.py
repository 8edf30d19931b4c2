"""The paired t test against SciPy's own, and Holm's correction by hand."""

from itertools import pairwise

import numpy as np
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
    with pytest.raises(UserError, match="same seeds"):
        paired([0.5, 0.6], [0.5])


def test_no_spread_is_no_evidence():
    same = paired([0.75, 0.5], [0.5, 0.25])
    assert (same.mean, same.interval95, same.p) == (0.25, None, 1.0)
    # Equal but for the rounding of float64: 0.09999999999999998 and 0.10000000000000009.
    assert paired([0.7, 1.1], [0.6, 1.0]).p == 1.0
    assert paired([0.7, 1.1], [0.6, 1.000001]).p < 0.05


def test_the_grid_of_accuracies_is_a_floor_of_the_spread():
    clips = 200
    found = paired([0.61, 0.71, 0.66], [0.60, 0.70, 0.65], 1 / clips)
    error = (1 / clips**2 / 6 / 3) ** 0.5
    assert found.p == pytest.approx(2 * stats.t.sf(0.01 / error, 2))
    assert found.interval95 == pytest.approx(tuple(0.01 + side * stats.t.ppf(0.975, 2) * error for side in (-1, 1)))
    assert paired([0.5, 0.75], [0.5, 0.75], 1 / clips).p == 1.0
    wide = [0.91, 0.88, 0.93], [0.86, 0.87, 0.89]
    assert paired(*wide, 1 / clips) == paired(*wide), "seeds that differ by more than a clip are tested as they are"


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize(
    ("undecided", "right"),
    [(8, 0.5), (30, 0.5), (60, 0.5), (200, 0.7), (200, 0.97)],
    ids=["8 clips in doubt", "30 clips in doubt", "60 clips in doubt", "70 % of all", "97 % of all"],
)
def test_equal_methods_differ_in_at_most_5_of_100_studies(seeds, undecided, right):
    # Null: two methods right on each of the clips in doubt with the same probability; 200 test clips in all.
    # Differences are few whole numbers, so that studies are counted by kind: 100,000 of them in a second.
    clips, studies = 200, 100_000
    draw = np.random.default_rng(9)
    shape = (studies, seeds)
    differences = draw.binomial(undecided, right, shape) - draw.binomial(undecided, right, shape)
    kinds, counts = np.unique(np.sort(differences, axis=1), axis=0, return_counts=True)
    called = [paired([0.5 + k / clips for k in kind], [0.5] * seeds, 1 / clips).p < 0.05 for kind in kinds]
    assert counts[called].sum() / studies < 0.052  # 0.05 and three standard errors of the simulation


def test_results_are_tested_on_the_grid_of_their_test_split():
    ours, base = made_results.of("aim", [0.61, 0.71]), made_results.of("joint", [0.60, 0.70])
    assert paired_results(ours, base)[0] == paired([0.61, 0.71], [0.60, 0.70], 1 / 200)
    ours, base = made_results.regression("aim", [0.8, 0.9]), made_results.regression("joint", [0.9, 1.0])
    assert paired_results(ours, base)[0].p == 1.0


def test_results_are_paired_by_common_seeds():
    ours, base = made_results.made("aim", seeds=4), made_results.made("joint", seeds=3)
    later = base.model_copy(update={"seeds": [1, 3, 9]})
    difference, seeds = paired_results(ours, later)
    a, b = ours.selection.val.accuracy.per_seed, base.selection.val.accuracy.per_seed
    assert seeds == [1, 3]
    assert difference == paired([a[1], a[3]], [b[0], b[1]], 1 / ours.data.samples["test"])
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
