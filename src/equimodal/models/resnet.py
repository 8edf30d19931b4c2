"""ResNet with basic blocks (He et al., 2016): parameter names as in torchvision, width, depth and stem as settings."""

from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from equimodal.models.encoder import Encoder
from equimodal.settings.training import ModelSettings

AVX2_FLOATS = 8


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inplanes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample: nn.Module | None = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return functional.relu(self.bn2(self.conv2(out)) + shortcut, inplace=True)


class ResNet(Encoder):
    """ResNet18 at width 64 and layers (2, 2, 2, 2), without the classifier; D = 4 blocks, the stem in the first.

    Inputs: spectrograms [B, C, F, T], or pictures [B, C, T, H, W]. `frames="fold"` passes the T frames one by one and
    averages their maps with space (methods.md 4.1); "stack" makes them channels of one picture.

    Args:
        channels: C of the input.
        n_frames: T of a picture input; None for spectrograms.
        width: channels of the first stage; the others have 2, 4 and 8 times as many.
        layers: basic blocks of the four stages.
        stem_stride: stride of the first convolution: 2 as published, 1 for small pictures.
        stem_pool: the max pooling after it.
        channels_last: memory format of the maps.
    """

    def __init__(
        self,
        channels: int,
        n_frames: int | None = None,
        width: int = 64,
        layers: tuple[int, int, int, int] = (2, 2, 2, 2),
        frames: Literal["fold", "stack"] = "fold",
        stem_stride: int = 2,
        stem_pool: bool = True,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.frames = frames
        # oneDNN's strided 1x1 convolution writes beyond its memory where a map has fewer channels
        # than an AVX2 register (torch 2.13).
        safe = channels_last and width >= AVX2_FLOATS
        self.memory_format = torch.channels_last if safe else torch.contiguous_format
        stem_channels = channels * n_frames if n_frames and frames == "stack" else channels
        self.conv1 = nn.Conv2d(stem_channels, width, 7, stem_stride, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem_pool else nn.Identity()
        self.dims = tuple(width * 2**stage for stage in range(4))
        previous = width
        for stage, (planes, count) in enumerate(zip(self.dims, layers, strict=True), start=1):
            strides = [1 if stage == 1 else 2] + [1] * (count - 1)
            blocks = [BasicBlock(previous if i == 0 else planes, planes, stride) for i, stride in enumerate(strides)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            previous = planes
        # A tuple is not registered as a submodule: the parameters keep torchvision's names.
        stem = nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool, self.get_submodule("layer1"))
        self._blocks = (stem, *(self.get_submodule(f"layer{stage}") for stage in (2, 3, 4)))
        self.to(memory_format=self.memory_format)  # type: ignore[call-overload]  # torch's stubs leave this overload out

    @classmethod
    def build(cls, shape: tuple[int, ...], kind: str, settings: ModelSettings, channels_last: bool) -> Self:
        return cls(
            channels=shape[0],
            n_frames=shape[1] if len(shape) == 4 else None,
            width=settings.width,
            layers=settings.layers,
            frames=settings.frames,
            stem_stride=settings.stem_stride,
            stem_pool=settings.stem_pool,
            channels_last=channels_last,
        )

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        return self._blocks

    def train(self, mode: bool = True) -> Any:
        """Also switch the containers of `blocks`, which are not registered."""
        for block in self._blocks:
            block.train(mode)
        return super().train(mode)

    def prepare(self, x: Any) -> Tensor:
        if x.dim() == 5:  # [B, C, T, H, W]
            x = x.transpose(1, 2).flatten(0, 1) if self.frames == "fold" else x.flatten(1, 2)
        return x.contiguous(memory_format=self.memory_format)
