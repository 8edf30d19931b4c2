"""Stored arrays -> model inputs, batched on the device: normalisation always, augmentation in training."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.settings.training import AugmentSettings

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class InputTransform:
    """One modality's way from its stored form to the model.

    Spectrograms [B, 1, F, T] are standardised by the training split's mean and std where their settings say so. Pictures (frames, flow)
    [B, C, T, H + margin, W + margin] uint8 are cropped to [H, W], scaled to [0, 1] and normalised: RGB by ImageNet's statistics,
    grey and flow by the training split's.

    Args:
        entry: the modality's entry in data/D/manifest.json.
        device: where the batches are.
    """

    def __init__(self, entry: dict[str, Any], device: torch.device) -> None:
        self.kind: str = entry["kind"]
        self.settings: dict[str, Any] = entry["settings"]
        self.pictures = self.kind in ("frames", "flow")
        stored = tuple(entry["shape"])
        mean, std = entry["mean"], entry["std"]
        if self.pictures:
            self.size = tuple(self.settings["size"])
            self.shape: tuple[int, ...] = (*stored[:2], *self.size)
            if self.kind == "frames" and stored[0] == 3:
                mean, std = IMAGENET_MEAN, IMAGENET_STD
            else:
                mean, std = [m / 255 for m in mean], [s / 255 for s in std]
        else:
            self.shape = stored
            if not self.settings.get("standardize", True):
                mean, std = [0.0] * stored[0], [1.0] * stored[0]
        axes = [1] * (len(stored) - 1)
        self.mean = torch.tensor(mean, dtype=torch.float32, device=device).view(-1, *axes)
        self.std = torch.tensor(std, dtype=torch.float32, device=device).clamp_min(1e-6).view(-1, *axes)

    def evaluate(self, x: Tensor) -> Tensor:
        """Deterministic: the central crop, normalised."""
        if self.pictures:
            top, left = ((have - want) // 2 for have, want in zip(x.shape[-2:], self.size, strict=True))
            x = x[..., top : top + self.size[0], left : left + self.size[1]]
        return self._normalise(x)

    def augment(self, x: Tensor, flips: Tensor, draw: torch.Generator, settings: AugmentSettings) -> Tensor:
        """Random crop and flip of pictures, masked stretches of spectrograms.

        Args:
            x: stored batch [B, ...].
            flips: [B] bool, which samples are mirrored; shared by all picture modalities of a batch.
            draw: generator on the device.
        """
        if not self.pictures:
            return self._mask(self._normalise(x), draw, settings)
        if not (settings.crop or settings.flip):
            return self.evaluate(x)
        if not settings.flip:
            flips = torch.zeros_like(flips)
        return self._normalise(self._crop(x.float(), flips, draw, settings))

    def _normalise(self, x: Tensor) -> Tensor:
        x = x.float()
        if self.pictures:
            x = x / 255
        return (x - self.mean) / self.std

    def _crop(self, x: Tensor, flips: Tensor, draw: torch.Generator, settings: AugmentSettings) -> Tensor:
        """Random resized crop (one box a sample, or a frame) and mirroring, as one affine sampling.

        Flow's u changes sign when mirrored (u is stored around 127.5).
        """
        batch, channels, frames = x.shape[:3]
        draws = frames if settings.per_frame else 1
        low, high = settings.crop_scale if settings.crop else (1.0, 1.0)
        sample = torch.rand(4, batch, draws, generator=draw, device=draw.device)
        area = low + (high - low) * sample[0]
        ratio = torch.exp((sample[1] * 2 - 1) * torch.log(torch.tensor(4 / 3))) if settings.crop else torch.ones_like(area)
        width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
        if not settings.crop:  # the central crop of the stored margin
            height = torch.full_like(height, self.size[0] / x.shape[-2])
            width = torch.full_like(width, self.size[1] / x.shape[-1])
            sample = torch.full_like(sample, 0.5)
        center_x, center_y = (sample[2] * 2 - 1) * (1 - width), (sample[3] * 2 - 1) * (1 - height)
        sign = torch.where(flips, -1.0, 1.0).unsqueeze(1).expand(batch, draws)
        zero = torch.zeros_like(width)
        theta = torch.stack([torch.stack([width * sign, zero, center_x], -1), torch.stack([zero, height, center_y], -1)], -2)
        theta = theta.expand(batch, frames if settings.per_frame else 1, 2, 3)
        if settings.per_frame:
            flat = x.transpose(1, 2).flatten(0, 1)
            grid = functional.affine_grid(theta.flatten(0, 1), [batch * frames, channels, *self.size], align_corners=False)
            out = functional.grid_sample(flat, grid, padding_mode="border", align_corners=False)
            out = out.unflatten(0, (batch, frames)).transpose(1, 2)
        else:
            grid = functional.affine_grid(theta[:, 0], [batch, channels * frames, *self.size], align_corners=False)
            out = functional.grid_sample(x.flatten(1, 2), grid, padding_mode="border", align_corners=False).unflatten(1, (channels, frames))
        if self.kind == "flow":
            mirrored = flips.view(-1, 1, 1, 1, 1)
            u = torch.zeros(1, channels, 1, 1, 1, dtype=torch.bool, device=x.device)
            u[:, ::2] = True  # channels u, v or u, v, u
            out = torch.where(mirrored & u, 255 - out, out)
        return out

    def _mask(self, x: Tensor, draw: torch.Generator, settings: AugmentSettings) -> Tensor:
        """SpecAugment: one stretch of time and one of frequency set to the mean, lengths uniform up to the settings."""
        for longest, axis in ((settings.spec_freq, 2), (settings.spec_time, 3)):
            if longest == 0:
                continue
            size = x.shape[axis]
            length = torch.rand(len(x), 1, generator=draw, device=draw.device) * min(longest, size)
            start = torch.rand(len(x), 1, generator=draw, device=draw.device) * (size - length)
            position = torch.arange(size, device=x.device)
            inside = (position >= start) & (position < start + length)
            x = x.masked_fill(inside.view(len(x), 1, *([size, 1] if axis == 2 else [1, size])), 0.0)
        return x
