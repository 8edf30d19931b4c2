"""Optical flow between neighbouring frames, as bytes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from equimodal.errors import UserError
from equimodal.features.contract import Segment
from equimodal.features.media import MediaError
from equimodal.features.pictures import moments, shrinker, stored_size
from equimodal.features.video import Video
from equimodal.settings.features import FlowSettings

LIBRARIES = ("av", "cv2")

# Bytes of grey pictures that are held at once.
HELD = 32 << 20

# No motion is a byte of its own and the scale is symmetric, so that a mirrored picture's u is exactly 256 - byte.
# 0 is never written.
ZERO, LEVELS = 128, 127


def shape(settings: FlowSettings) -> tuple[int, int, int, int]:
    """(channels, pairs, height + margin, width + margin), told from the settings alone."""
    return settings.channels, settings.count, *stored_size(settings)


def dtype(settings: FlowSettings) -> str:
    """Always uint8."""
    return "uint8"


def notes(settings: FlowSettings) -> dict[str, Any]:
    """How to turn bytes into px, and of which picture: [height, width] at which flow was computed."""
    computed = list(settings.compute_size or stored_size(settings))
    return {
        "zero": ZERO,
        "px_per_level": settings.bound / LEVELS,
        "bound": settings.bound,
        "formula": "px = (byte - zero) * px_per_level",
        "px_of": computed,
    }


def encode(flow: np.ndarray, bound: float) -> np.ndarray:
    """Flow in px, clipped to ±bound, to bytes 1 to 255."""
    return (np.rint(np.clip(flow / bound, -1.0, 1.0) * LEVELS) + ZERO).astype(np.uint8)


def decode(stored: np.ndarray, bound: float) -> np.ndarray:
    """Bytes to flow in px (float32); the inverse of `encode` up to half a level, bound / 254 px."""
    return (stored.astype(np.float32) - ZERO) * np.float32(bound / LEVELS)


def extract(path: Path, segments: Sequence[Segment], settings: FlowSettings) -> list[np.ndarray | MediaError]:
    """Rows [C, T, H + margin, W + margin] uint8; channels u (right), v (down), and u again with `channels: 3`.

    At each of T moments the frame shown and the next one (the last frame: and the one before it) are cropped and
    resized in grey to `compute_size`, or to the stored size; their flow is shrunk by area to the stored size, its px
    staying those of the computed picture. Samples of a clip share the pairs that they have in common.

    Raises:
        MissingTrackError: the clip has no video.
        MediaError: unreadable, cut off, one frame only.
        UserError: `tvl1` without the contrib build of OpenCV.
    """
    method = estimator(settings.algorithm)
    video = Video.probe(path)
    if len(video.times) < 2:
        raise MediaError("the video has one frame; flow needs two")
    firsts: list[np.ndarray | MediaError] = []
    for segment in segments:
        try:
            firsts.append(np.minimum(video.at(moments(segment, video, settings)), len(video.times) - 2))
        except MediaError as error:
            firsts.append(error)
    pairs = sorted({int(first) for indices in firsts if isinstance(indices, np.ndarray) for first in indices})
    size = settings.compute_size or stored_size(settings)
    shrink = shrinker(settings, size)
    flows: dict[int, np.ndarray] = {}
    step = max(1, HELD // (2 * size[0] * size[1]))
    for begin in range(0, len(pairs), step):
        some = pairs[begin : begin + step]
        pictures = video.read({frame for first in some for frame in (first, first + 1)}, "gray", shrink)
        flows |= {
            first: _stored(method(pictures[first], pictures[first + 1]), settings)
            for first in some
            if first in pictures and first + 1 in pictures
        }
    return [indices if isinstance(indices, MediaError) else _row(indices, flows) for indices in firsts]


def estimator(algorithm: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function of two grey pictures [H, W] that gives flow in px [H, W, 2].

    Measured at 320 x 240 (ms per pair, end point error in px): DIS fast 1.7, 0.07; DIS medium 12, 0.03; Farneback 30,
    0.02; TV-L1 1,500, 0.04.

    Raises:
        UserError: `tvl1` without the contrib build of OpenCV.
    """
    import cv2

    cv2.setNumThreads(1)
    if algorithm == "farneback":
        return lambda one, two: cv2.calcOpticalFlowFarneback(one, two, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
    if algorithm == "tvl1":
        if not hasattr(cv2, "optflow"):
            raise UserError(
                "flow algorithm 'tvl1' needs opencv-contrib-python-headless in place of"
                " opencv-python-headless (never both): swap the wheels, or use dis-medium"
            )
        dual = cv2.optflow.DualTVL1OpticalFlow_create()
        return lambda one, two: dual.calc(one, two, None)
    inverse_search = cv2.DISOpticalFlow.create(
        cv2.DISOPTICAL_FLOW_PRESET_FAST if algorithm == "dis-fast" else cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
    )
    return lambda one, two: inverse_search.calc(one, two, None)  # type: ignore[call-overload]


def _stored(flow: np.ndarray, settings: FlowSettings) -> np.ndarray:
    """[h, w, 2] px -> [C, H, W] bytes. Clipped before it is shrunk, as the published pipelines do: one wild px must not
    spoil its neighbours.
    """
    height, width = stored_size(settings)
    if flow.shape[:2] != (height, width):
        import cv2

        flow = cv2.resize(np.clip(flow, -settings.bound, settings.bound), (width, height), interpolation=cv2.INTER_AREA)
    planes = encode(flow, settings.bound).transpose(2, 0, 1)
    return planes[[0, 1, 0]] if settings.channels == 3 else planes


def _row(indices: np.ndarray, flows: dict[int, np.ndarray]) -> np.ndarray | MediaError:
    lost = len({int(index) for index in indices} - flows.keys())
    if lost:
        return MediaError(f"damaged: {lost} of {len(indices)} pairs of frames do not decode")
    return np.stack([flows[int(index)] for index in indices], axis=1)
