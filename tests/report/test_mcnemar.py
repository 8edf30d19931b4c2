"""McNemar's exact test, beside a computation from binomial coefficients."""

from math import comb

import pytest

from equimodal.report.mcnemar import discordance


@pytest.mark.parametrize(("first", "second"), [(8, 1), (3, 3), (0, 5), (0, 0)])
def test_counts_and_p(first: int, second: int) -> None:
    one = [True] * first + [False] * second + [True] * 4 + [False] * 2
    two = [False] * first + [True] * second + [True] * 4 + [False] * 2
    found = discordance(one, two)
    assert (found.first, found.second, found.both, found.neither) == (first, second, 4, 2)
    count = first + second
    tail = sum(comb(count, k) for k in range(min(first, second) + 1)) / 2**count
    assert found.p == pytest.approx(min(1.0, 2 * tail))


def test_other_numbers_of_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        discordance([True], [True, False])
