"""What chance does to accuracies: against simulation and against numbers computed by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from equimodal.metrics.chance import apart, half_width


def test_the_width_of_an_interval_is_that_of_the_binomial() -> None:
    for samples in (30, 200, 1200):
        low, high = stats.binom.interval(0.95, samples, 0.5)
        assert half_width(samples) == pytest.approx((high - low) / 2 / samples, abs=0.5 / samples)
    assert half_width(1) == 0.5  # no accuracy is farther from one half


def test_one_seed_is_agresti_and_caffos_interval() -> None:
    """Their formula for 56 of 70 against 48 of 80: one success and one failure are added to each."""
    found = apart([56 / 70], [48 / 80], (70, 80))
    first, second = 57 / 72, 49 / 82
    error = math.sqrt(first * (1 - first) / 72 + second * (1 - second) / 82)
    assert found.mean == pytest.approx(0.2)
    assert found.interval95 == pytest.approx((first - second - 1.96 * error, first - second + 1.96 * error), abs=1e-4)
    assert found.p == pytest.approx(2 * stats.norm.sf((first - second) / error), rel=1e-6)


def test_seeds_add_their_variance_and_no_clips() -> None:
    alike = apart([0.9, 0.9, 0.9], [0.8, 0.8, 0.8], (100, 100))
    single = apart([0.9], [0.8], (100, 100))
    assert (alike.mean, alike.p) == pytest.approx((single.mean, single.p))
    spread = apart([0.85, 0.9, 0.95], [0.85, 0.8, 0.75], (100, 100))
    assert spread.mean == pytest.approx(0.1) and spread.p > alike.p
    first, second = 91 / 102, 81 / 102
    clips, seeds = (first * (1 - first) + second * (1 - second)) / 102, 0.01 / 3
    freedom = 2 * ((clips + seeds) / seeds) ** 2
    assert spread.p == pytest.approx(2 * stats.t.sf((first - second) / math.sqrt(clips + seeds), freedom))


def test_features_that_were_fitted_on_training_videos_show() -> None:
    """98 % on videos that the features know, 75 % on others: what was found in a user's project."""
    assert apart([0.98, 0.975, 0.985], [0.75, 0.74, 0.76], (80, 120)).p < 1e-4
    assert apart([0.98, 0.975, 0.985], [0.96, 0.95, 0.97], (80, 120)).p > 0.1


def test_perfect_scores_are_no_certainty() -> None:
    assert apart([1.0], [1.0], (6, 6)).p == pytest.approx(1)
    assert apart([1.0], [0.8], (5, 5)).p > 0.1 > apart([1.0], [0.8], (500, 500)).p


@pytest.mark.parametrize(("sizes", "seeds"), [((60, 150), 3), ((30, 30), 1), ((600, 1200), 5)])
def test_the_level_is_kept_for_clips_that_all_seeds_err_on(sizes: tuple[int, int], seeds: int) -> None:
    draw = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        shift = draw.normal(0, 0.3, (seeds, 1))  # a seed's own, alike on both sets
        sets = [(draw.normal(1.5, 2, size) + shift + draw.normal(0, 0.5, (seeds, size)) > 0).mean(1) for size in sizes]
        refused += apart(list(sets[0]), list(sets[1]), sizes).p < 0.05
    assert refused <= 400 * 0.05 + 2 * math.sqrt(400 * 0.05 * 0.95)
