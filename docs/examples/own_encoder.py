"""An encoder of one's own: convolutions over the steps of a sequence. As src/equimodal/models/conv.py it needs one line
in models/registry.py.
"""

from typing import Self

import torch
from torch import Tensor, nn

from equimodal.models.encoder import Encoder
from equimodal.models.padded import Padded
from equimodal.settings.training import ModelSettings


class Step(nn.Module):
    """One block: every step from its two neighbours and itself; padding is zero before and after."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(features, width, 3, padding=1)

    def forward(self, maps: Padded) -> Padded:
        x: Tensor = self.conv(maps.values.transpose(1, 2)).transpose(1, 2)
        return Padded(torch.relu(x), maps.mask).zeroed()


class Convolution(Encoder):
    """Two blocks on sequences [B, L, W]."""

    affine_axis = 2  # where an input's channels are

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Step(features, width), Step(width, width)])
        self.dims = (width, width)  # pooled width of every block's output

    @classmethod
    def build(cls, shape: tuple[int, ...], kind: str, settings: ModelSettings, channels_last: bool) -> Self:
        return cls(shape[1], settings.transformer.width)  # a key of `model` that is there already

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        return tuple(self.layers)

    def prepare(self, x: Padded) -> Padded:
        return x.zeroed()
