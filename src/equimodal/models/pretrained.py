"""Weights trained elsewhere (ImageNet) as the start of encoders, by torchvision's names; the first convolution is
fitted to other channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import torch
from torch import Tensor

from equimodal.errors import UserError
from equimodal.models.framework import MultimodalModel
from equimodal.store import read_tensors

if TYPE_CHECKING:
    from equimodal.models.resnet import ResNet


@dataclass(frozen=True)
class Pretrained:
    """A ResNet's weights without its classifier, for the encoders of some modalities.

    Args:
        tensors: torchvision's names -> weights; the first convolution is [width, 3, 7, 7] for RGB.
        sha256: of the file they came from.
        modalities: whose encoders start from them; those that a model lacks (a unimodal method's) are passed over.
    """

    tensors: Mapping[str, Tensor]
    sha256: str
    modalities: tuple[str, ...]

    @classmethod
    def read(cls, path: Path, modalities: tuple[str, ...]) -> Self:
        """What the stage `weights` wrote; a UserError if it wrote none."""
        tensors, meta = read_tensors(path)
        if not tensors:
            raise UserError(
                f"{path} holds no weights, but params.yaml names some (model.weights): build it again"
                f" (snakemake --cores 4 -- {path})"
            )
        return cls(tensors, meta["sha256"], modalities)

    def load(self, model: MultimodalModel) -> None:
        """Replace all weights and batch statistics of the encoders; the fusion head keeps its initialisation."""
        for name in self.modalities:
            if name in model.encoders:
                encoder = cast("ResNet", model.encoders[name])
                stem = adapted_stem(
                    self.tensors["conv1.weight"], encoder.channels, encoder.conv1.in_channels // encoder.channels
                )
                # Counters of batches, which old files lack, start at zero; the stage `weights` has checked the rest.
                counters = {
                    key: value for key, value in encoder.state_dict().items() if key.endswith("num_batches_tracked")
                }
                encoder.load_state_dict({**counters, **self.tensors, "conv1.weight": stem})


def adapted_stem(weight: Tensor, channels: int, frames: int = 1) -> Tensor:
    """A first convolution for RGB [width, 3, k, k], for pictures of other channels [width, channels * frames, k, k].

    Three channels (RGB; flow as u, v, u) keep their kernels. Otherwise every channel gets the mean kernel over RGB
    times 3 / channels: one channel (grey) has the sum, so that a grey picture gives what it gave as R = G = B, and with
    any number activations keep their size. Frames stacked as channels (channel by channel, as `ResNet.prepare` lays
    them) share a channel's kernel equally: a still clip gives what one frame gave.
    """
    if channels != weight.shape[1]:
        weight = weight.mean(1, keepdim=True).expand(-1, channels, -1, -1) * (weight.shape[1] / channels)
    return torch.repeat_interleave(weight, frames, dim=1) / frames
