"""Stored arrays -> model inputs, batched on the device: normalisation always, augmentation in training."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.models.padded import Input, Padded
from equimodal.settings.training import AugmentSettings

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class InputTransform:
    """One modality's way from its stored form to the model.

    Spectrograms [B, 1, F, T] are standardised by the training split's mean and std where their settings say so.
    Pictures (frames, flow) [B, C, T, H + margin, W + margin] uint8 are cropped to [H, W] and normalised: RGB by
    ImageNet's statistics, grey and flow by the training split's. Where the settings `pick` some of the T frames, the
    model sees those only. Sequences (Padded, [B, L, W]) and vectors [B, W] are standardised feature by feature and
    never augmented; padding is zero.

    A model input is (stored - mean) * scale, in one step from the stored bytes.

    Args:
        entry: the modality's entry in data/D/manifest.json.
        device: where the batches are.
    """

    def __init__(self, entry: dict[str, Any], device: torch.device) -> None:
        self.kind: str = entry["kind"]
        self.settings: dict[str, Any] = entry["settings"]
        self.pictures = self.kind in ("frames", "flow")
        self.features_last = self.kind in ("sequence", "vector")
        self.pick: int | None = self.settings.get("pick")
        stored = tuple(entry["shape"])
        mean, std = entry["mean"], entry["std"]
        if self.pictures:
            self.size = tuple(self.settings["size"])
            self.still: int = entry["notes"]["zero"] if self.kind == "flow" else 0
            self.shape: tuple[int, ...] = (stored[0], self.pick or stored[1], *self.size)
            self.centres = [_pixel_centres(count, device) for count in self.size]
            self.horizontal = torch.arange(stored[0], device=device) % 2 == 0  # flow's channels u, v or u, v, u
            if self.kind == "frames" and stored[0] == 3:
                mean, std = ([255 * value for value in values] for values in (IMAGENET_MEAN, IMAGENET_STD))
        else:
            self.shape = stored
            standardize = self.settings.get("standardize", True)
            self.silence = 0.0 if standardize else float(mean[0])  # what SpecAugment puts: the training split's mean
            if not standardize:
                mean, std = [0.0] * len(mean), [1.0] * len(std)
        axes = [] if self.features_last else [1] * (len(stored) - 1)
        self.mean = torch.tensor(mean, dtype=torch.float32, device=device).view(-1, *axes)
        self.scale = 1 / torch.tensor(std, dtype=torch.float32, device=device).clamp_min(1e-6).view(-1, *axes)

    def evaluate(self, x: Input) -> Input:
        """Deterministic: the middle frame of each part (`pick`), the central crop, normalised."""
        if isinstance(x, Padded):
            return Padded(self._normalise(_as_floats(x.values)), x.mask).zeroed()
        if self.pictures:
            x = self._central_crop(x if self.pick is None else x[:, :, self._middles(x)])
        return self._normalise(_as_floats(x))

    def augment(
        self, x: Input, flips: Tensor, draw: torch.Generator, settings: AugmentSettings, picks: Tensor | None = None
    ) -> Input:
        """Random frames, crop and flip of pictures, masked stretches of spectrograms;
        nothing random for sequences and vectors.

        Args:
            x: stored batch [B, ...].
            flips: [B] bool, which samples are mirrored; shared by all picture modalities of a batch.
            draw: generator on the device.
            picks: [B, at least `pick`] in [0, 1), where in its part each picked frame lies; shared as `flips` are.
                Needed where settings pick.
        """
        if isinstance(x, Padded) or self.features_last:
            return self.evaluate(x)
        if not self.pictures:
            return self._mask(self._normalise(_as_floats(x)), draw, settings)
        if self.pick is not None:
            assert picks is not None
            x = self._picked(x, picks[:, : self.pick])
        mirrored = flips if settings.flip else None
        if settings.crop:
            x = self._resized_crop(_as_floats(x), draw, settings, mirrored)
        else:
            x = _as_floats(self._central_crop(x))
            x = x if mirrored is None else torch.where(mirrored.view(-1, 1, 1, 1, 1), x.flip(-1), x)
        return self._normalise(x, mirrored)

    def _normalise(self, x: Tensor, mirrored: Tensor | None = None) -> Tensor:
        """(x - mean) * scale, in place. The horizontal flow of `mirrored` samples [B] turns its sign, u -> 2 still - u:
        exactly, for it is stored symmetrically about `still`, the byte of no motion.
        """
        mean, scale = self.mean, self.scale
        if self.kind == "flow" and mirrored is not None:
            turned = (mirrored[:, None] & self.horizontal).view(-1, *mean.shape)
            mean = torch.where(turned, 2 * self.still - mean, mean)
            scale = torch.where(turned, -scale, scale)
        return x.sub_(mean).mul_(scale)

    def _edges(self, x: Tensor) -> Tensor:
        """First frame of each part, and the number of frames: [pick + 1]. Parts differ by one frame where T is no
        multiple of `pick`.
        """
        assert self.pick is not None
        return torch.arange(self.pick + 1, device=x.device) * x.shape[2] // self.pick

    def _middles(self, x: Tensor) -> Tensor:
        edges = self._edges(x)
        return (edges[:-1] + edges[1:]) // 2

    def _picked(self, x: Tensor, picks: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, C, pick, H, W]: of each part the frame that its draw falls on."""
        edges = self._edges(x)
        sizes = edges[1:] - edges[:-1]
        # The product may round up to the size itself.
        frames = edges[:-1] + torch.minimum((picks * sizes).long(), sizes - 1)
        return x[torch.arange(len(x), device=x.device)[:, None], :, frames].transpose(1, 2)

    def _central_crop(self, x: Tensor) -> Tensor:
        top, left = ((have - want) // 2 for have, want in zip(x.shape[-2:], self.size, strict=True))
        return x[..., top : top + self.size[0], left : left + self.size[1]]

    def _resized_crop(
        self, x: Tensor, draw: torch.Generator, settings: AugmentSettings, mirrored: Tensor | None
    ) -> Tensor:
        """A random box of each sample (or frame), area and aspect ratio drawn as in torchvision's RandomResizedCrop,
        sampled bilinearly; of `mirrored` samples [B] from right to left.
        """
        batch, channels, frames = x.shape[:3]
        low, high = settings.crop_scale
        draws = torch.rand(4, batch, frames if settings.per_frame else 1, generator=draw, device=draw.device)
        area = low + (high - low) * draws[0]
        ratio = (4 / 3) ** (draws[1] * 2 - 1)
        width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
        center_x, center_y = (draws[2] * 2 - 1) * (1 - width), (draws[3] * 2 - 1) * (1 - height)
        if mirrored is not None:
            width = torch.where(mirrored[:, None], -width, width)
        down, across = (
            (center[..., None] + extent[..., None] * centres).flatten(0, 1)
            for center, extent, centres in zip((center_y, center_x), (height, width), self.centres, strict=True)
        )
        # Boxes are upright: the points of a grid are its columns times its rows, far cheaper than affine_grid.
        grid = torch.view_as_real(torch.complex(*torch.broadcast_tensors(across[:, None, :], down[:, :, None])))
        pictures = x.transpose(1, 2).flatten(0, 1) if settings.per_frame else x.flatten(1, 2)
        out = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
        return (
            out.unflatten(0, (batch, frames)).transpose(1, 2)
            if settings.per_frame
            else out.unflatten(1, (channels, frames))
        )

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
            x = x.masked_fill(inside.view(len(x), 1, *([size, 1] if axis == 2 else [1, size])), self.silence)
        return x


def _as_floats(x: Tensor) -> Tensor:
    """A float32 copy, which may be overwritten."""
    return x.to(torch.float32, copy=True, memory_format=torch.contiguous_format)


def _pixel_centres(count: int, device: torch.device) -> Tensor:
    """Centres of `count` pixels that fill [-1, 1], exactly symmetrical about 0."""
    return (torch.arange(count, device=device) * 2 + (1 - count)) / count
