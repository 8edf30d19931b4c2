"""Generated talking faces: an actor's head with an emotion's mouth, brows and eyes."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

FPS = Fraction(15000, 1001)  # frames a second; half of CREMA-D's


@dataclass(frozen=True)
class Expression:
    """What an emotion does to a face; 0 is at rest, 1 is much. All of it is the same for a mirrored picture."""

    smile: float  # corners of the mouth up
    gape: float  # mouth open
    stretch: float  # mouth wide
    slant: float  # inner ends of the brows up
    lift: float  # brows raised
    stare: float  # eyes open
    wrinkle: float  # folds across the nose


EXPRESSIONS = {
    "NEU": Expression(0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0),
    "HAP": Expression(1.0, 0.4, 0.6, 0.1, 0.2, -0.3, 0.0),
    "SAD": Expression(-1.0, 0.0, -0.6, 1.0, -0.1, -0.6, 0.0),
    "FEA": Expression(-0.2, 1.0, -0.6, 0.6, 1.0, 1.2, 0.0),
    "DIS": Expression(-0.5, 0.2, 0.1, -0.4, -0.5, -0.7, 1.0),
    "ANG": Expression(-0.4, 0.4, 0.9, -1.1, -0.7, 0.5, 0.0),
}


@dataclass(frozen=True)
class Face:
    """An actor's looks: place and size in the picture, colours in [0, 1], light,
    and the expression of the face at rest.
    """

    centre: np.ndarray
    size: float
    skin: np.ndarray
    hair: np.ndarray
    back: np.ndarray
    light: np.ndarray
    habit: np.ndarray


def draw_face(generator: np.random.Generator) -> Face:
    """One actor's looks."""
    tone = generator.uniform(0.35, 0.85)
    return Face(
        centre=generator.uniform(-0.08, 0.08, 2),
        size=float(generator.uniform(1.25, 1.45)),
        skin=np.clip(tone * np.array([1.0, 0.82, 0.70]) * (1.0 + 0.06 * generator.standard_normal(3)), 0.1, 1.0),
        hair=generator.uniform(0.05, 0.55) * np.array([1.0, 0.85, 0.7]),
        back=generator.uniform(0.1, 0.6) * generator.uniform(0.8, 1.2, 3),
        light=generator.uniform(-0.2, 0.2, 2),
        habit=generator.standard_normal(7),
    )


# How far actors and single clips stray from an expression's numbers.
_STRAY = np.array([0.12, 0.08, 0.15, 0.12, 0.15, 0.15, 0.08])


def film(
    face: Face,
    emotion: str,
    strength: float,
    seconds: float,
    size: tuple[int, int],
    covered: bool,
    generator: np.random.Generator,
) -> np.ndarray:
    """Frames of one clip.

    Args:
        face: the actor.
        emotion: key of EXPRESSIONS.
        strength: 0 (neutral) to 1 (full) expression.
        seconds: length.
        size: height, width in px.
        covered: a bar hides the lower or the upper half of the face.
        generator: the clip's own; every draw comes from it.

    Returns:
        uint8 [round(seconds * FPS), H, W, 3], RGB.
    """
    frames = max(round(seconds * float(FPS)), 2)
    height, width = size
    time = np.arange(frames, dtype=np.float32)[:, None, None] / np.float32(FPS)
    neutral, full = (
        np.array([getattr(EXPRESSIONS[name], field) for field in Expression.__dataclass_fields__])
        for name in ("NEU", emotion)
    )
    stray = _STRAY * (0.5 * face.habit + generator.standard_normal(7))
    shape = Expression(*(neutral + strength * (full - neutral) + stray).astype(np.float32))

    aspect = width / height
    y, x = np.meshgrid(
        np.linspace(-1, 1, height, dtype=np.float32),
        np.linspace(-aspect, aspect, width, dtype=np.float32),
        indexing="ij",
    )
    sway = 0.05 * np.sin(
        2 * np.pi * (generator.uniform(0.3, 0.9, 2) * time + generator.random(2))[..., None, :]
    ).astype(np.float32)
    centre = (face.centre + generator.uniform(-0.05, 0.05, 2)).astype(np.float32)
    scale = np.float32(face.size * generator.uniform(0.94, 1.06))
    roll = np.float32(generator.uniform(-0.12, 0.12))
    right, down = (x - centre[0] - sway[..., 0]) / scale, (y - centre[1] - sway[..., 1]) / scale
    u, v = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right

    head = _inside(1.0 - (u / 0.72) ** 2 - (v / 0.95) ** 2, 0.06)
    planes = np.empty((3, frames, height, width), np.float32)
    planes[:] = face.back.astype(np.float32)[:, None, None, None] + np.float32(0.1) * (x * y)
    _paint(planes, _inside(1.0 - (u / 0.82) ** 2 - ((v + 0.15) / 0.98) ** 2, 0.06), face.hair)
    _paint(planes, head * _inside(v + 0.62, 0.08), face.skin)
    for mask, colour in _features(u, v, shape, _talk(time, generator), face):
        _paint(planes, mask * head, colour)
    planes *= (
        1.0 + np.float32(face.light[0]) * x + np.float32(face.light[1]) * y + np.float32(generator.uniform(-0.12, 0.12))
    )
    if covered:
        bar = _inside(0.33 - np.abs(v - np.float32(0.5 if generator.random() < 0.5 else -0.28)), 0.03)
        _paint(planes, bar, generator.uniform(0.1, 0.9, 3))
    planes += np.float32(0.035) * generator.standard_normal(planes.shape, np.float32)
    planes *= 255.0
    return np.clip(planes, 0.0, 255.0, out=planes).astype(np.uint8).transpose(1, 2, 3, 0)


def _talk(time: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """How far speech opens the mouth; [T, 1, 1] in [0, 0.5], whatever the emotion."""
    return (0.5 * np.sin(np.pi * (generator.uniform(3.0, 5.5) * time + generator.random())) ** 2).astype(np.float32)


def _features(
    u: np.ndarray, v: np.ndarray, shape: Expression, talk: np.ndarray, face: Face
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Masks [T, H, W] and colours of brows, eyes, nose and mouth, in painting order."""
    across = np.abs(u)
    brow_line = -0.42 - 0.10 * shape.lift + 0.45 * shape.slant * (across - 0.30)
    brows = _inside(0.06 - np.abs(v - brow_line), 0.02) * _inside(0.19 - np.abs(across - 0.31), 0.02)
    open_eye = 0.09 + 0.055 * shape.stare
    eye = 1.0 - ((across - 0.30) / 0.14) ** 2 - ((v + 0.20) / max(open_eye, 0.02)) ** 2
    pupil = 1.0 - ((across - 0.30) / 0.06) ** 2 - ((v + 0.20) / min(max(open_eye, 0.02), 0.07)) ** 2
    folds = (
        max(shape.wrinkle, 0.0)
        * _inside(0.22 - across, 0.03)
        * _inside(0.18 - np.abs(v - 0.04), 0.03)
        * (0.5 + 0.5 * np.sin(v * 38.0))
    )
    half = max(0.34 + 0.10 * shape.stretch, 0.12)
    along = np.clip(across / half, 0.0, 1.0) ** 2
    mouth_line = 0.50 + 0.26 * shape.smile * (0.4 - along)
    thick = (0.04 + 0.14 * np.maximum(shape.gape + talk, 0.0)) * (1.05 - along)
    teeth = (
        _inside(0.55 * thick - np.abs(v - mouth_line), 0.02)
        * _inside(0.8 * half - across, 0.03)
        * np.clip(2.0 * shape.stretch, 0.0, 1.0)
    )
    mouth = _inside(thick - np.abs(v - mouth_line), 0.02) * _inside(half - across, 0.02)
    nose = _inside(0.05 - across, 0.02) * _inside(0.13 - np.abs(v - 0.12), 0.03)
    dark = np.array([0.08, 0.06, 0.06])
    return [
        (0.5 * nose, 0.7 * face.skin),
        (0.9 * folds, 0.25 * face.skin),
        (_inside(eye, 0.15), np.array([0.92, 0.92, 0.92])),
        (_inside(pupil, 0.15), dark),
        (brows, 0.6 * face.hair),
        (mouth, np.array([0.45, 0.12, 0.14])),
        (teeth, np.array([0.95, 0.93, 0.88])),
    ]


def _inside(distance: np.ndarray, softness: float) -> np.ndarray:
    """1 where `distance` is positive, 0 where negative, with a soft edge."""
    return np.clip(0.5 + distance / (2.0 * softness), 0.0, 1.0)


def _paint(planes: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> None:
    """Lay `colour` [3] over `planes` [3, T, H, W] where `mask` [T, H, W] is 1."""
    for plane, value in zip(planes, colour, strict=True):
        plane += mask * (np.float32(value) - plane)
