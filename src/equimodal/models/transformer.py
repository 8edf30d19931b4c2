"""Transformer encoder for sequences (Vaswani et al., 2017): one layer per block, padding masks respected everywhere."""

import math
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from equimodal.errors import UserError
from equimodal.models.encoder import Encoder
from equimodal.models.padded import Padded
from equimodal.settings.training import ModelSettings


def sinusoids(length: int, width: int, like: Tensor) -> Tensor:
    """Positions [length, width] of Vaswani et al.: sin(p / 10000^(2i/width)) at channel 2i, the cosine at 2i + 1; on
    `like`'s device.
    """
    position = torch.arange(length, device=like.device, dtype=torch.float32)
    rate = torch.exp(torch.arange(0, width, 2, device=like.device, dtype=torch.float32) * (-math.log(10000.0) / width))
    angle = position[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width].to(like.dtype)


class Attention(nn.Module):
    """Multi-head self-attention over the real steps of each sample.

    In plain matrix products: the fused kernels are not deterministic on every device,
    and no operation counter sees all of them.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, L, W] -> [B, L, W]; mask [B, L], True where a key may be attended to."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each [B, heads, L, W / heads]
        # A sample without a real step attends to its zeros, which nobody reads: a softmax over nothing would be NaN.
        keys = mask | ~mask.any(1, keepdim=True)
        scores = (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).masked_fill(~keys[:, None, None], -torch.inf)
        return self.out((self.dropout(scores.softmax(3)) @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """One block: LN(x + Attention(x)), then LN(x + FFN(x)). The first also embeds its inputs.

    Args:
        features: width of the inputs, for the first block; None for the others.
        width: of the maps; a multiple of `heads`.
        ffn: the hidden layer is `ffn` times as wide.
    """

    def __init__(self, features: int | None, width: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(features, width) if features is not None else None
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.linear1, self.linear2 = nn.Linear(width, ffn * width), nn.Linear(ffn * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: Padded) -> Padded:
        maps = maps.zeroed()
        x, mask = maps.values, maps.mask
        if self.project is not None:
            x = self.project(x)
            x = self.dropout(x + sinusoids(x.shape[1], x.shape[2], x))
        x = self.norm1(x + self.dropout(self.attention(x, mask)))
        x = self.norm2(x + self.dropout(self.linear2(self.dropout(functional.relu(self.linear1(x))))))
        return Padded(x, mask).zeroed()


class Transformer(Encoder):
    """D layers from scratch, one per block; the input projection and sinusoidal positions belong to the first block
    (aim.md section 1).

    Post-norm, as published: every block's output has one scale, so that distances to prototypes are alike at all depths
    and modalities, and at this depth plain SGD learns faster than with pre-norm (docs/own_encoder.md). Block outputs
    are Padded, zero where they are padding; pooling is the mean over real steps.

    Args:
        features: W of inputs [B, L, W].
        layers, width, heads, ffn, dropout: `model.transformer`.
    """

    affine_axis = 2

    def __init__(
        self, features: int, layers: int = 3, width: int = 40, heads: int = 5, ffn: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [Layer(features if index == 0 else None, width, heads, ffn, dropout) for index in range(layers)]
        )
        self.dims = (width,) * layers

    @classmethod
    def build(cls, shape: tuple[int, ...], kind: str, settings: ModelSettings, channels_last: bool) -> Self:
        own = settings.transformer
        return cls(shape[1], own.layers, own.width, own.heads, own.ffn, own.dropout)

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        return tuple(self.layers)

    def prepare(self, x: Tensor | Padded) -> Padded:
        if not isinstance(x, Padded):
            raise UserError(
                f"the transformer takes sequences with their mask (equimodal.Padded), not a tensor {list(x.shape)}"
            )
        return x.zeroed()
