"""A generated stand-in for UCF-101: its names, codec and list files; the picture carries a class by its colours, the
flow by its motion.

A clip is a textured window before a textured backdrop. Colours of both are the class's, moved a little by the group
(UCF-101's groups are clips of one video) and the clip. The texture inside the window moves in the manner of the class,
the window itself stays: so one frame says nothing of the motion. All manners look the same mirrored, as training flips
pictures. Every clip draws from generators of its own, seeded by (seed, class, group, clip): a file's bytes do not
depend on which others are made.
"""

import colorsys
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from equimodal.datasets.synthesis import encode

if TYPE_CHECKING:
    from equimodal.datasets.ucf101.settings import Ucf101Sample

FPS = Fraction(25)
SPEED = 45.0  # px a second at a height of 64 px
Points = tuple[np.ndarray, np.ndarray]

# What makes fusion worth while: each modality is spoilt in its own part of the clips. The numbers are tuned so that
# small networks learn colours quickly and motion slowly (docs/datasets/ucf101.md has the measured accuracies).
COLOURLESS = 0.28
STILL = 0.12
STRENGTH = (0.3, 0.8)
GROUP_HUE, CLIP_HUE = 0.025, 0.02  # standard deviations, of the colour circle


def _turned(x: np.ndarray, y: np.ndarray, angle: float) -> Points:
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


# Class -> where the texture of a point is taken from, so many "steps" after mid-clip: SPEED px, or the radian or e-fold
# that moves the rim so far. x right, y down, in px from the window's middle; `rim` is its radius; steps are negative in
# a random half of the clips where the sense is free.
MANNERS: dict[str, Callable[[np.ndarray, np.ndarray, float, float], Points]] = {
    "BalanceBeam": lambda x, y, step, rim: (x - step, y),
    "BodyWeightSquats": lambda x, y, step, rim: (x, y - 0.5 * rim * np.sin(2.5 * step / rim)),
    "CliffDiving": lambda x, y, step, rim: (x, y - step),
    "HulaHoop": lambda x, y, step, rim: _turned(x, y, step / rim),
    "JumpRope": lambda x, y, step, rim: (x - 0.5 * rim * np.sin(2.5 * step / rim), y),
    "PullUps": lambda x, y, step, rim: (x, y + step),
    "RockClimbingIndoor": lambda x, y, step, rim: (x - step * np.sign(y), y),
    "SkyDiving": lambda x, y, step, rim: (x * np.exp(-0.4 * step / rim), y * np.exp(-0.4 * step / rim)),
    "Skiing": lambda x, y, step, rim: (x * np.exp(0.4 * step / rim), y * np.exp(0.4 * step / rim)),
    "Swing": lambda x, y, step, rim: _turned(x, y, 0.6 * np.sin(2.5 * step / rim)),
    "TaiChi": lambda x, y, step, rim: (x, y - step * np.sign(x)),
    "TrampolineJumping": lambda x, y, step, rim: (x * np.exp(0.4 * step / rim), y * np.exp(-0.4 * step / rim)),
}
EITHER_SENSE = ("BalanceBeam", "HulaHoop", "RockClimbingIndoor", "TaiChi")
# The first ones are the easiest to tell apart; alphabetical within a sample, as UCF-101's classInd.txt.
ORDER = (
    "PullUps",
    "CliffDiving",
    "SkyDiving",
    "Skiing",
    "HulaHoop",
    "BalanceBeam",
    "TaiChi",
    "RockClimbingIndoor",
    "TrampolineJumping",
    "Swing",
    "JumpRope",
    "BodyWeightSquats",
)


@dataclass(frozen=True)
class Clip:
    """One clip to generate."""

    action: str
    group: int
    number: int

    @property
    def stem(self) -> str:
        """File name without suffix, as UCF-101's."""
        return f"v_{self.action}_g{self.group:02d}_c{self.number:02d}"

    @property
    def path(self) -> str:
        """As in the list files."""
        return f"{self.action}/{self.stem}.avi"


def classes(settings: "Ucf101Sample") -> list[str]:
    """The classes of a sample in label order."""
    return sorted(ORDER[: settings.classes])


def clips(settings: "Ucf101Sample") -> list[Clip]:
    """The clips of a sample, in the order of the list files."""
    groups, numbers = range(1, settings.groups + 1), range(1, settings.clips_per_group + 1)
    return [Clip(action, group, number) for action in classes(settings) for group in groups for number in numbers]


def list_files(settings: "Ucf101Sample") -> dict[str, str]:
    """The list files: name -> text. As in UCF-101, list k tests the k-th 7/25 of the groups; class ids count from 1."""
    names = classes(settings)
    files = {"classInd.txt": "".join(f"{number} {name}\n" for number, name in enumerate(names, 1))}
    tested = max(1, round(settings.groups * 7 / 25))
    for part in (1, 2, 3):
        test = range((part - 1) * tested + 1, part * tested + 1)
        files[f"trainlist{part:02d}.txt"] = "".join(
            f"{clip.path} {names.index(clip.action) + 1}\n" for clip in clips(settings) if clip.group not in test
        )
        files[f"testlist{part:02d}.txt"] = "".join(f"{clip.path}\n" for clip in clips(settings) if clip.group in test)
    return files


def write(clip: Clip, settings: "Ucf101Sample", folder: Path) -> None:
    """Generate one clip as `folder`/Class/v_Class_gNN_cNN.avi: MPEG-4 part 2 in AVI, as UCF-101's."""
    encode.write_avi(folder / clip.path, film(clip, settings), FPS)


def film(clip: Clip, settings: "Ucf101Sample") -> np.ndarray:
    """The clip's pictures before encoding, uint8 [T, H, W, 3]."""
    draw = _generator(settings.seed, clip.stem)
    group = _generator(settings.seed, f"{clip.action}_g{clip.group:02d}")
    height, width = settings.size
    scale = height / 64
    colourless = draw.random() < COLOURLESS
    strength = 0.05 if draw.random() < STILL else draw.uniform(*STRENGTH)
    sense = draw.choice([-1.0, 1.0]) if clip.action in EITHER_SENSE else 1.0
    colours = _colours(
        clip.action,
        settings,
        group.normal(0, GROUP_HUE, 2) + draw.normal(0, CLIP_HUE, 2),
        0.0 if colourless else draw.uniform(0.5, 0.8),
    )
    window, backdrop = _texture(draw, draw.uniform(0.6, 1.0) / scale), _texture(draw, 0.5 / scale)
    rim = scale * draw.uniform(20, 26)
    middle = width / 2 + scale * draw.uniform(-8, 8), height / 2 + scale * draw.uniform(-4, 4)
    pan = scale * draw.normal(0, 8, 2)  # px a second, of the camera
    light = draw.uniform(0.75, 1.05)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5)
    count = max(2, round(settings.seconds * draw.uniform(0.85, 1.0) * float(FPS)))
    frames = np.empty((count, height, width, 3), dtype=np.uint8)
    for number in range(count):
        time = (number - count / 2) / float(FPS)
        shift_x, shift_y = pan * time
        here_x, here_y = x - middle[0] - shift_x, y - middle[1] - shift_y
        inside = np.clip(rim + 0.5 - np.hypot(here_x, here_y), 0, 1)[..., None]
        moved = MANNERS[clip.action](here_x, here_y, sense * strength * SPEED * scale * time, rim)
        picture = inside * colours[0] * (0.3 + 0.7 * window(*moved))[..., None]
        picture = picture + (1 - inside) * colours[1] * (0.55 + 0.3 * backdrop(x - shift_x, y - shift_y))[..., None]
        frames[number] = np.clip(
            255 * light * picture + 4 * draw.standard_normal((height, width, 1), dtype=np.float32), 0, 255
        )
    return frames


def _colours(action: str, settings: "Ucf101Sample", shifts: np.ndarray, saturation: float) -> list[np.ndarray]:
    """Colour of the window and of the backdrop, float [3] in [0, 1]: the class's hues, shifted."""
    names = classes(settings)
    place = names.index(action) / len(names)
    hues = (place + shifts[0]) % 1, (3 * place + 0.5 + shifts[1]) % 1
    return [np.array(colorsys.hsv_to_rgb(hue, saturation, 1.0)) for hue in hues]


def _texture(draw: np.random.Generator, finest: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A smooth random pattern over the plane, values in [0, 1]: waves of all directions, `finest` / 2 to `finest`
    radians per px.

    Drawn once on a tile of 128 px that joins at its edges, four points per px, and looked up.
    """
    side, fine = 512, 4
    rows, columns = np.fft.fftfreq(side, 1 / fine)[:, None], np.fft.rfftfreq(side, 1 / fine)
    radians = 2 * np.pi * np.hypot(rows, columns)
    waves = draw.normal(size=radians.shape) + 1j * draw.normal(size=radians.shape)
    pattern = np.fft.irfft2(waves * ((radians > finest / 2) & (radians < finest)), (side, side))
    tile = (0.5 + 0.5 * np.tanh(1.5 * pattern / pattern.std())).astype(np.float32)
    return lambda x, y: tile[(fine * y).astype(np.int32) % side, (fine * x).astype(np.int32) % side]


def _generator(seed: int, name: str) -> np.random.Generator:
    """A generator of its own for each (seed, name)."""
    key = hashlib.sha256(f"{seed}/ucf101/{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(key[:16], "big")))
