"""Generated moving pictures of things: each kind has its own outline and pattern, in any colour, size and place, before
a cluttered ground.
"""

from dataclasses import dataclass

import numpy as np

LOBES = (2, 3, 4, 5, 6)
PATTERNS = ("plain", "rings", "fine rings", "stripes", "fine stripes", "checks", "spokes")


@dataclass(frozen=True)
class Kind:
    """What one kind of thing looks like; mirrored it looks the same."""

    lobes: int  # of the outline
    pattern: str
    beat: float  # swings a second


def kind(number: int) -> Kind:
    """The kind of this number: 35 there are, told apart by outline and pattern together."""
    return Kind(
        LOBES[number % len(LOBES)], PATTERNS[number // len(LOBES) % len(PATTERNS)], 0.5 + 0.11 * (number * 7 % 31)
    )


def film(
    shown: Kind,
    strength: float,
    times: np.ndarray,
    size: tuple[int, int],
    covered: bool,
    generator: np.random.Generator,
) -> np.ndarray:
    """Frames of one clip.

    Args:
        shown: what is seen.
        strength: 0 (nothing of the kind is seen) to 1 (fully).
        times: seconds at which the frames are, [T]; need not be even.
        size: height, width in px.
        covered: a bar hides half of the thing.
        generator: the clip's own; every draw comes from it.

    Returns:
        uint8 [T, H, W, 3], RGB.
    """
    height, width = size
    aspect = width / height
    y, x = np.meshgrid(
        np.linspace(-1, 1, height, dtype=np.float32),
        np.linspace(-aspect, aspect, width, dtype=np.float32),
        indexing="ij",
    )
    moment = times.astype(np.float32)[:, None, None]
    swing = np.sin(2 * np.pi * (shown.beat * moment + np.float32(generator.random())))
    centre = generator.uniform(-0.25, 0.25, 2).astype(np.float32)
    drift = generator.uniform(-0.12, 0.12, 2).astype(np.float32)
    radius = np.float32(generator.uniform(0.6, 0.85))
    angle = np.float32(generator.normal(0, 0.5)) + np.float32(0.25) * swing
    across, down = (x - centre[0] - drift[0] * swing) / radius, (y - centre[1] - drift[1] * swing) / radius
    turned, upright = np.cos(angle) * across + np.sin(angle) * down, np.cos(angle) * down - np.sin(angle) * across
    distance, direction = np.hypot(turned, upright), np.arctan2(upright, turned)

    depth = np.float32(0.35 * strength)
    inside = _soft(1.0 - depth + depth * np.cos(shown.lobes * direction) - distance, 0.06)
    marks = 0.5 + 0.5 * np.float32(strength) * _pattern(shown.pattern, turned, upright, distance, direction)

    # Any colours, but the marks are dark on light, and the ground is neither.
    ground, body, paint = (
        generator.uniform(0.25, 0.6, 3),
        generator.uniform(0.6, 1.0, 3),
        generator.uniform(0.0, 0.3, 3),
    )
    planes = np.empty((3, len(times), height, width), np.float32)
    planes[:] = (
        ground.astype(np.float32)[:, None, None, None]
        + np.float32(0.1) * generator.uniform(-1, 1) * x
        + np.float32(0.1) * generator.uniform(-1, 1) * y
    )
    for _ in range(4):  # clutter: discs that mean nothing
        place, spread = generator.uniform(-1.2, 1.2, 2), generator.uniform(0.08, 0.25)
        _paint(planes, _soft(spread - np.hypot(x - place[0], y - place[1]), 0.04)[None], generator.uniform(0.1, 0.9, 3))
    _paint(planes, inside * marks, body)
    _paint(planes, inside * (1 - marks), paint)
    if covered:
        _paint(planes, _soft(turned, 0.05) * _soft(1.2 - np.abs(upright), 0.05), generator.uniform(0.1, 0.9, 3))
    planes += np.float32(0.05) * generator.standard_normal(planes.shape, np.float32)
    planes *= 255.0
    return np.clip(planes, 0.0, 255.0, out=planes).astype(np.uint8).transpose(1, 2, 3, 0)


def _pattern(name: str, x: np.ndarray, y: np.ndarray, distance: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Marks on the thing, in [-1, 1]."""
    if name == "plain":
        return np.ones_like(x)
    wave = {
        "rings": lambda: np.cos(8.0 * distance),
        "fine rings": lambda: np.cos(16.0 * distance),
        "stripes": lambda: np.cos(7.0 * y),
        "fine stripes": lambda: np.cos(14.0 * y),
        "checks": lambda: 2.0 * np.cos(7.0 * x) * np.cos(7.0 * y),
        "spokes": lambda: np.cos(8.0 * direction),
    }[name]()
    return np.clip(2.0 * wave, -1.0, 1.0)


def _soft(distance: np.ndarray, softness: float) -> np.ndarray:
    """1 where `distance` is positive, 0 where negative, with a soft edge."""
    return np.clip(0.5 + distance / (2.0 * softness), 0.0, 1.0)


def _paint(planes: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> None:
    """Lay `colour` [3] over `planes` [3, T, H, W] where `mask` [T or 1, H, W] is 1."""
    for plane, value in zip(planes, colour, strict=True):
        plane += mask * (np.float32(value) - plane)
