"""What every encoder offers: its blocks one by one, so that a method can reach inside."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


class Encoder(nn.Module):
    """An encoder cut into D sequential blocks (aim.md section 1).

    Block outputs ("maps") are a tensor or a pytree of tensors (tokens with their mask); their first axis is the batch, with
    each sample's frames folded into it when the encoder folds frames.

    Attributes:
        dims: pooled width C_d of every block's output, length D. The last one is the feature's width.
        affine_axis: axis of an input that per-channel maps act on (channels of pictures and spectrograms).
    """

    dims: tuple[int, ...]
    affine_axis: int = 1

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The D blocks, shallow to deep; the stem belongs to the first. Each maps block inputs to block outputs."""
        raise TypeError(f"{type(self).__name__} must define its blocks")

    def prepare(self, x: Tensor) -> Any:
        """Turn an input batch [B, ...] into the first block's input."""
        return x

    def pool(self, maps: Any, batch: int) -> Tensor:
        """Mean of block outputs over space, time and frames: [B, C_d]."""
        return maps.mean(tuple(range(2, maps.dim()))).unflatten(0, (batch, -1)).mean(1)

    def forward(self, x: Tensor) -> Tensor:
        """Feature of the last block: [B, dims[-1]]."""
        maps = self.prepare(x)
        for block in self.blocks:
            maps = block(maps)
        return self.pool(maps, len(x))


def select(maps: Any, batch: int, samples: slice | Tensor) -> Any:
    """Block inputs or outputs of some of the batch's samples, whether or not frames are folded into the first axis."""

    def pick(t: Tensor) -> Tensor:
        if t.shape[0] == batch:
            return t[samples]
        return t.unflatten(0, (batch, -1))[samples].flatten(0, 1)

    return pytree.tree_map_only(torch.Tensor, pick, maps)


def detach(maps: Any) -> Any:
    """The same values without gradient."""
    return pytree.tree_map_only(torch.Tensor, torch.Tensor.detach, maps)
