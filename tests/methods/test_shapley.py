"""Shapley weights against their definition: the mean over all orders of what each adds to those before it."""

import math
from itertools import permutations

import numpy as np
import pytest

from equimodal.methods.shapley import shapley_weights, subsets


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_weights_are_means_over_all_orders(count: int) -> None:
    parts = subsets(count)
    assert len(parts) == len(set(parts)) == 2**count - 1 and parts[-1] == tuple(range(count))
    values = dict(zip(parts, np.random.default_rng(count).normal(size=len(parts)), strict=True))
    phi = np.zeros(count)
    for order in permutations(range(count)):
        before = 0.0
        for place, m in enumerate(order):
            now = values[tuple(sorted(order[: place + 1]))]
            phi[m] += (now - before) / math.factorial(count)
            before = now
    found = shapley_weights(count).numpy() @ np.array(list(values.values()))
    np.testing.assert_allclose(found, phi, rtol=1e-12)
    assert found.sum() == pytest.approx(values[parts[-1]]), "they share what all are worth"
