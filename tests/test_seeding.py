"""Generators by purpose: fixed numbers, independent of the platform and of each other."""

import torch

from equimodal.seeding import derive, generator


def test_seeds_are_the_same_everywhere() -> None:
    assert derive(0, "order", 3) == 2723741169552378311 < 2**63
    assert (
        len(
            {
                derive(seed, purpose, epoch)
                for seed in range(3)
                for purpose in ("order", "augment")
                for epoch in range(4)
            }
        )
        == 24
    )


def test_generators_draw_the_same_again_and_leave_the_global_one() -> None:
    state = torch.get_rng_state()
    first, second, other = (torch.rand(4, generator=generator(1, "order", epoch)) for epoch in (0, 0, 1))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
