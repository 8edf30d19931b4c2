"""The bootstrap against NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from equimodal.diagnosis import bootstrap as module
from equimodal.diagnosis.bootstrap import Bootstrap, bounds


def test_means_are_those_of_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.stack([torch.arange(7.0), torch.arange(7.0).square()])
    found = Bootstrap(7, 500, seed=1).means(values)
    assert found.shape == (2, 501)
    assert found[:, 0].tolist() == pytest.approx([3.0, 13.0])
    # a mean of seven of 0..6 is a multiple of 1/7 between both ends; resamples differ, and centre on the mean
    assert torch.allclose((found[0] * 7).round(), found[0] * 7)
    assert len(found[0].unique()) > 15
    assert float(found[0, 1:].std()) == pytest.approx(2 / 7**0.5, rel=0.15)
    assert bool((found[1] >= found[0].square() - 1e-9).all()), "both rows see the same resamples"
    again = [Bootstrap(7, 500, seed=1).means(row) for row in (values[0], values[1], values.sum(0))]
    assert torch.allclose(again[0] + again[1], again[2]), "and so do two measures"
    monkeypatch.setattr(module, "AT_ONCE", 70)
    assert float(Bootstrap(7, 500, seed=1).means(values)[0, 1:].std()) == pytest.approx(2 / 7**0.5, rel=0.15)


def test_intervals_are_scipys() -> None:
    values = np.random.default_rng(0).exponential(size=200)
    low, high = bounds(Bootstrap(200, 4000, seed=0).means(torch.from_numpy(values)), 0.025)
    expected = bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.015)


def test_seeds_decide_and_the_global_generator_is_left() -> None:
    values = torch.arange(9.0)
    state = torch.get_rng_state()
    one, same, other = (Bootstrap(9, 50, seed).means(values) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
