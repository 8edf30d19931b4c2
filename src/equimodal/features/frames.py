"""Still pictures of the video track, evenly spaced or at a frame rate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from equimodal.features.contract import Segment
from equimodal.features.media import MediaError
from equimodal.features.pictures import moments, shrinker, stored_size
from equimodal.features.video import Video
from equimodal.settings.features import FramesSettings

LIBRARIES = ("av", "cv2")


def shape(settings: FramesSettings) -> tuple[int, int, int, int]:
    """(channels, frames, height + margin, width + margin), told from the settings alone."""
    return settings.channels, settings.count, *stored_size(settings)


def dtype(settings: FramesSettings) -> str:
    """Always uint8."""
    return "uint8"


def notes(settings: FramesSettings) -> dict[str, Any]:
    """Nothing: values are grey levels, or red, green, blue."""
    return {}


def extract(path: Path, segments: Sequence[Segment], settings: FramesSettings) -> list[np.ndarray | MediaError]:
    """Rows [C, T, H + margin, W + margin] uint8 of a clip's segments; each needed frame is decoded and shrunk once.

    Raises:
        MissingTrackError: the clip has no video.
        MediaError: unreadable, without frames, cut off.
    """
    video = Video.probe(path)
    chosen: list[np.ndarray | MediaError] = []
    for segment in segments:
        try:
            chosen.append(video.at(moments(segment, video, settings)))
        except MediaError as error:
            chosen.append(error)
    wanted = {int(index) for indices in chosen if isinstance(indices, np.ndarray) for index in indices}
    pictures = video.read(wanted, "gray" if settings.channels == 1 else "rgb24", shrinker(settings))
    return [indices if isinstance(indices, MediaError) else _row(indices, pictures) for indices in chosen]


def _row(indices: np.ndarray, pictures: dict[int, np.ndarray]) -> np.ndarray | MediaError:
    lost = len({int(index) for index in indices} - pictures.keys())
    if lost:
        return MediaError(f"damaged: {lost} of {len(indices)} frames do not decode")
    stack = np.stack([pictures[int(index)] for index in indices])
    return stack[None] if stack.ndim == 3 else stack.transpose(3, 0, 1, 2)
