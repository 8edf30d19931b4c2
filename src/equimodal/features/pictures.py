"""What frames and flow share: which moments of a sample are taken, and how a picture is cropped and shrunk."""

from collections.abc import Callable

import numpy as np

from equimodal.features.contract import Segment
from equimodal.features.media import MediaError
from equimodal.features.video import Video
from equimodal.settings.features import PictureSettings


def moments(segment: Segment, video: Video, settings: PictureSettings) -> np.ndarray:
    """The moments (s from the clip's beginning) of a sample's pictures, ascending. Shape [T], T = `settings.count`.

    `n`: the centres of n equal parts. `fps`: the centres of parts 1/fps long; of more than n_max, n_max evenly spaced
    ones; of fewer, the last is repeated.

    Raises:
        MediaError: the sample lies outside the video.
    """
    start = video.times[0] if segment.start is None else max(video.times[0], segment.start - settings.before)
    end = video.end if segment.end is None else min(video.end, segment.end + settings.after)
    if start >= end:
        lasting = f"{video.times[0]:.2f} to {video.end:.2f} s"
        raise MediaError(
            f"no picture between {segment.start or 0.0:.2f} and {segment.end or video.end:.2f} s (the video"
            f" lasts from {lasting})"
        )
    if settings.n is not None:
        return start + (np.arange(settings.n) + 0.5) * ((end - start) / settings.n)
    assert settings.fps is not None
    count = max(1, int((end - start) * settings.fps + 0.5))
    chosen = np.arange(settings.n_max)
    part = (
        chosen.clip(max=count - 1) if count <= settings.n_max else ((chosen + 0.5) * count / settings.n_max).astype(int)
    )
    return np.minimum(start + (part + 0.5) / settings.fps, end)


def stored_size(settings: PictureSettings) -> tuple[int, int]:
    """Height and width of a stored picture in px."""
    return settings.size[0] + settings.margin, settings.size[1] + settings.margin


def shrinker(settings: PictureSettings, size: tuple[int, int] | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """A function that crops a picture by fractions and resizes it once, by area, to `size` (None: the stored size). [h,
    w(, 3)] -> [H, W(, 3)], uint8.
    """
    import cv2

    cv2.setNumThreads(1)  # processes give the parallelism
    height, width = size or stored_size(settings)

    def shrink(picture: np.ndarray) -> np.ndarray:
        if settings.crop is not None:
            picture = picture[
                _span(settings.crop[1], settings.crop[3], picture.shape[0]),
                _span(settings.crop[0], settings.crop[2], picture.shape[1]),
            ]
        return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)

    return shrink


def _span(low: float, high: float, length: int) -> slice:
    """A part of an axis, at least one pixel of it."""
    begin = min(round(low * length), length - 1)
    return slice(begin, max(begin + 1, round(high * length)))
