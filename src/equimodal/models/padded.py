"""Sequences of unequal length in one batch: values with a mask of what is real."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


# Not frozen: Fabric converts the tensors of a dataclass in place when it casts inputs (16-bit precisions)
@dataclass(eq=False)
class Padded:
    """A batch of sequences, filled up to one length. A pytree: what maps over tensors maps over both.

    Attributes:
        values: [B, L, W]; what stands at padded positions means nothing and may change nothing.
        mask: [B, L] bool, True where a step is real. A sample may have no real step at all (its modality is missing).
    """

    values: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.values)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.values.device

    def zeroed(self) -> "Padded":
        """The same with zeros at padded positions, whatever stood there (NaN included); no gradient reaches them."""
        return Padded(self.values.masked_fill(~self.mask[..., None], 0), self.mask)

    def mean(self) -> Tensor:
        """Mean over real steps [B, W]; zeros for a sample without any."""
        return self.zeroed().values.sum(1) / self.mask.sum(1, keepdim=True).clamp_min(1)


pytree.register_pytree_node(
    Padded,
    lambda padded: ([padded.values, padded.mask], None),
    lambda leaves, _: Padded(*leaves),
    serialized_type_name="equimodal.Padded",
)

Input: TypeAlias = Tensor | Padded
"""One modality of a batch as a model takes it: a tensor [B, ...], or sequences."""


def lengths_mask(lengths: Tensor, longest: int) -> Tensor:
    """Mask [B, longest] of sequences that begin at step 0 and have `lengths` [B] steps."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def zeroed_inputs(inputs: Mapping[str, Input], names: Collection[str]) -> dict[str, Input]:
    """Inputs {m: [B, ...]} with the modalities `names` at zero; a sequence keeps its mask."""

    def zero(x: Input) -> Input:
        return Padded(torch.zeros_like(x.values), x.mask) if isinstance(x, Padded) else torch.zeros_like(x)

    return {name: zero(x) if name in names else x for name, x in inputs.items()}


def blank(batch: int, shape: tuple[int, ...], device: torch.device) -> Input:
    """Zeros for a model input of one modality: [batch, *shape], and for sequences (shape (L, W)) no padding."""
    values = torch.zeros(batch, *shape, device=device)
    return Padded(values, torch.ones(batch, shape[0], dtype=torch.bool, device=device)) if len(shape) == 2 else values
