"""What every encoder offers: its blocks one by one, so that a method can reach inside."""

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from equimodal.models.padded import Input, Padded
from equimodal.settings.training import ModelSettings


class Encoder(nn.Module):
    """An encoder cut into D sequential blocks (aim.md section 1).

    Block outputs ("maps") are a tensor or a pytree of tensors (`Padded` sequences); their first axis is the batch, with
    each sample's frames folded into it when the encoder folds frames.

    Attributes:
        dims: pooled width C_d of every block's output, length D. The last one is the feature's width.
        affine_axis: axis of an input that per-channel maps act on (channels of pictures and spectrograms, features of
            sequences and vectors).
    """

    dims: tuple[int, ...]
    affine_axis: int = 1

    @classmethod
    def build(cls, shape: tuple[int, ...], kind: str, settings: ModelSettings, channels_last: bool) -> Self:
        """An encoder as `settings` describe it, initialised from the global torch generator.

        Args:
            shape: of one model input: (C, F, T) of a spectrogram, (C, T, H, W) of pictures, (L, W) of a sequence, (W)
                of a vector.
            kind: the kind of feature that it is.
            channels_last: memory format of maps with channels.
        """
        raise TypeError(f"{cls.__name__} must define build to be named in models/registry.py")

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The D blocks, shallow to deep; the stem belongs to the first. Each maps block inputs to block outputs."""
        raise TypeError(f"{type(self).__name__} must define its blocks")

    def prepare(self, x: Input) -> Any:
        """Turn an input batch [B, ...] into the first block's input."""
        return x

    def pool(self, maps: Any, batch: int) -> Tensor:
        """Mean of block outputs over space, time and frames, of sequences over their real steps: [B, C_d]."""
        if isinstance(maps, Padded):
            return maps.mean()
        return maps.mean(tuple(range(2, maps.dim()))).unflatten(0, (batch, -1)).mean(1)

    def forward(self, x: Input) -> Tensor:
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


def join(first: Any, second: Any) -> Any:
    """Two batches of inputs of the same structure, the second behind the first and in its types."""
    return pytree.tree_map(lambda a, b: torch.cat([a, b.to(a.dtype)]), first, second)


def aligned_depths(blocks: Mapping[str, int]) -> dict[str, list[int]]:
    """Places of the blocks that stand for depths 1..D of each modality, from the modalities' numbers of blocks.

    D is the smallest number; encoders of more blocks are aligned to it by relative depth.
    """
    depths = min(blocks.values())
    return {name: [math.ceil((d + 1) * count / depths) - 1 for d in range(depths)] for name, count in blocks.items()}


def detach(maps: Any) -> Any:
    """The same values without gradient."""
    return pytree.tree_map_only(torch.Tensor, torch.Tensor.detach, maps)
