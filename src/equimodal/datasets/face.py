"""Generated talking faces: an actor's head with an emotion's mouth, brows and eyes."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

FPS = Fraction(30000, 1001)  # frames a second, as CREMA-D's flv files


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
    "SAD": Expression(-0.8, 0.0, -0.4, 0.9, -0.1, -0.4, 0.0),
    "FEA": Expression(-0.3, 0.7, -0.2, 0.6, 0.9, 0.9, 0.0),
    "DIS": Expression(-0.5, 0.3, 0.1, -0.4, -0.4, -0.6, 1.0),
    "ANG": Expression(-0.5, 0.4, 0.5, -1.0, -0.6, 0.4, 0.3),
}


@dataclass(frozen=True)
class Face:
    """An actor's looks: place and size in the picture, colours in [0, 1], light, and the expression of the face at rest."""

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
        centre=generator.uniform(-0.12, 0.12, 2),
        size=float(generator.uniform(0.82, 1.02)),
        skin=np.clip(tone * np.array([1.0, 0.82, 0.70]) * (1.0 + 0.06 * generator.standard_normal(3)), 0.1, 1.0),
        hair=generator.uniform(0.05, 0.55) * np.array([1.0, 0.85, 0.7]),
        back=generator.uniform(0.1, 0.8, 3),
        light=generator.uniform(-0.25, 0.25, 2),
        habit=generator.standard_normal(7),
    )


# How far actors and single clips stray from an expression's numbers.
_STRAY = np.array([0.22, 0.10, 0.22, 0.22, 0.22, 0.22, 0.15])


def film(face: Face, emotion: str, strength: float, seconds: float, size: tuple[int, int], covered: bool, generator: np.random.Generator) -> np.ndarray:
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
    neutral, full = (np.array([getattr(EXPRESSIONS[name], field) for field in Expression.__dataclass_fields__]) for name in ("NEU", emotion))
    shape = Expression(*(neutral + strength * (full - neutral) + _STRAY * (face.habit + generator.standard_normal(7))))

    aspect = width / height
    y, x = np.meshgrid(np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-aspect, aspect, width, dtype=np.float32), indexing="ij")
    sway = 0.05 * np.sin(2 * np.pi * (generator.uniform(0.3, 0.9, 2) * time + generator.random(2))[..., None, :]).astype(np.float32)
    centre = (face.centre + generator.uniform(-0.08, 0.08, 2)).astype(np.float32)
    scale = np.float32(face.size * generator.uniform(0.94, 1.06))
    roll = np.float32(generator.uniform(-0.12, 0.12))
    right, down = (x - centre[0] - sway[..., 0]) / scale, (y - centre[1] - sway[..., 1]) / scale
    u, v = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right

    head = _inside(1.0 - (u / 0.72) ** 2 - (v / 0.95) ** 2, 0.06)
    picture = face.back + np.float32(0.1) * (x * y)[..., None] + np.zeros((frames, 1, 1, 1), np.float32)
    hair = _inside(1.0 - (u / 0.82) ** 2 - ((v + 0.15) / 0.98) ** 2, 0.06)
    picture = _paint(picture, hair, face.hair)
    picture = _paint(picture, head * _inside(v + 0.62, 0.08), face.skin)
    for mask, colour in _features(u, v, shape, _talk(time, generator), face):
        picture = _paint(picture, mask * head, colour)
    picture = picture * (1.0 + face.light[0] * x + face.light[1] * y + generator.uniform(-0.12, 0.12))[..., None]
    if covered:
        bar = _inside(0.33 - np.abs(v - (0.5 if generator.random() < 0.5 else -0.28)), 0.03)
        picture = _paint(picture, bar, generator.uniform(0.1, 0.9, 3))
    picture = picture + np.float32(0.035) * generator.standard_normal(picture.shape, np.float32)
    return np.round(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)


def _talk(time: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """How far speech opens the mouth; [T, 1, 1] in [0, 0.5], whatever the emotion."""
    return (0.5 * np.sin(np.pi * (generator.uniform(3.0, 5.5) * time + generator.random())) ** 2).astype(np.float32)


def _features(u: np.ndarray, v: np.ndarray, shape: Expression, talk: np.ndarray, face: Face) -> list[tuple[np.ndarray, np.ndarray]]:
    """Masks [T, H, W] and colours of brows, eyes, nose and mouth, in painting order."""
    across = np.abs(u)
    brow_line = -0.40 - 0.09 * shape.lift + 0.34 * shape.slant * (across - 0.30)
    brows = _inside(0.045 - np.abs(v - brow_line), 0.02) * _inside(0.19 - np.abs(across - 0.31), 0.02)
    open_eye = 0.085 + 0.045 * shape.stare
    eye = 1.0 - ((across - 0.30) / 0.14) ** 2 - ((v + 0.20) / max(open_eye, 0.02)) ** 2
    pupil = 1.0 - ((across - 0.30) / 0.06) ** 2 - ((v + 0.20) / min(max(open_eye, 0.02), 0.07)) ** 2
    folds = max(shape.wrinkle, 0.0) * _inside(0.16 - across, 0.03) * _inside(0.16 - np.abs(v - 0.02), 0.03) * (0.5 + 0.5 * np.sin(v * 45.0))
    half = max(0.30 + 0.09 * shape.stretch, 0.12)
    along = np.clip(across / half, 0.0, 1.0) ** 2
    mouth_line = 0.52 + 0.20 * shape.smile * (0.4 - along)
    thick = (0.04 + 0.14 * np.maximum(shape.gape + talk, 0.0)) * (1.05 - along)
    mouth = _inside(thick - np.abs(v - mouth_line), 0.02) * _inside(half - across, 0.02)
    nose = _inside(0.05 - across, 0.02) * _inside(0.13 - np.abs(v - 0.12), 0.03)
    dark = np.array([0.08, 0.06, 0.06])
    return [
        (0.5 * nose, 0.7 * face.skin),
        (0.9 * folds, 0.35 * face.skin),
        (_inside(eye, 0.15), np.array([0.92, 0.92, 0.92])),
        (_inside(pupil, 0.15), dark),
        (brows, 0.6 * face.hair),
        (mouth, np.array([0.45, 0.12, 0.14])),
    ]


def _inside(distance: np.ndarray, softness: float) -> np.ndarray:
    """1 where `distance` is positive, 0 where negative, with a soft edge."""
    return np.clip(0.5 + distance / (2.0 * softness), 0.0, 1.0)


def _paint(picture: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """`colour` laid over `picture` [T, H, W, 3] where `mask` [T, H, W] or [H, W] is 1."""
    return picture + mask[..., None] * (colour.astype(np.float32) - picture)
