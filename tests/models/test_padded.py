"""Sequences with masks: what stands at padded positions means nothing,
and everything that maps over tensors maps over both parts.
"""

import pytest
import torch
from torch.utils import _pytree as pytree

from equimodal.models.encoder import detach, join, select
from equimodal.models.padded import Padded, blank, lengths_mask


def sample() -> Padded:
    torch.manual_seed(0)
    return Padded(torch.randn(3, 4, 2), lengths_mask(torch.tensor([4, 2, 0]), 4))


def test_the_mask_of_lengths() -> None:
    assert lengths_mask(torch.tensor([3, 0, 1]), 3).tolist() == [[True] * 3, [False] * 3, [True, False, False]]


def test_the_mean_is_over_real_steps_whatever_stands_elsewhere() -> None:
    x = sample()
    expected = torch.stack([x.values[0].mean(0), x.values[1, :2].mean(0), torch.zeros(2)])
    torch.testing.assert_close(x.mean(), expected)
    x.values[1, 2:], x.values[2] = torch.nan, torch.inf
    torch.testing.assert_close(x.mean(), expected)
    assert x.zeroed().values[2].abs().sum() == 0 and torch.equal(x.zeroed().values[0], x.values[0])


def test_no_gradient_reaches_padding() -> None:
    x = sample()
    x.values.requires_grad_()
    (x.mean().square().sum() + x.zeroed().values.square().sum()).backward()
    assert x.values.grad is not None and (x.values.grad.abs().sum(2) > 0).tolist() == x.mask.tolist()


def test_it_is_a_pytree_that_select_join_and_detach_reach_into() -> None:
    x = sample()
    assert len(x) == 3 and len(pytree.tree_leaves({"a": x})) == 2
    picked = select(x, 3, torch.tensor([1, 0]))
    assert (
        isinstance(picked, Padded)
        and torch.equal(picked.mask, x.mask[[1, 0]])
        and torch.equal(picked.values, x.values[[1, 0]])
    )
    both = join(x, Padded(x.values.double(), ~x.mask))
    assert both.values.dtype == torch.float32 and both.mask.tolist() == [*x.mask.tolist(), *(~x.mask).tolist()]
    assert not detach(Padded(x.values.clone().requires_grad_(), x.mask)).values.requires_grad


def test_fabric_may_convert_it() -> None:
    """16-bit precisions cast a batch's tensors field by field, which a frozen dataclass refuses."""
    from lightning_fabric.plugins.precision.amp import MixedPrecision

    cast = MixedPrecision("bf16-mixed", "cpu").convert_input({"text": sample()})["text"]
    assert cast.values.dtype == torch.bfloat16 and cast.mask.dtype == torch.bool


@pytest.mark.parametrize(("shape", "padded"), [((4, 2), True), ((4,), False), ((1, 4, 4), False)])
def test_blank_inputs_have_the_form_of_their_shape(shape: tuple[int, ...], padded: bool) -> None:
    x = blank(3, shape, torch.device("cpu"))
    assert isinstance(x, Padded) == padded and len(x) == 3
    assert not isinstance(x, Padded) or bool(x.mask.all())
