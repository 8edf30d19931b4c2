"""A generated stand-in for Kinetics-Sounds: its names, folders, lists and codecs,
sound being learned sooner than picture.

Every clip draws from generators of its own, seeded by (seed, clip),
so a file's bytes do not depend on which others are made.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from equimodal.datasets.ks.lists import CLASSES, NAMES
from equimodal.datasets.synthesis import encode, instrument, scene

if TYPE_CHECKING:
    from equimodal.datasets.ks.settings import KineticsSoundsSample

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
TESTED = 5  # every fifth clip of a class is on the test list
SECONDS = 10  # what the names and lists say, as Kinetics' do, however short the generated clips are

# What YouTube's sound tracks come in: Hz and channels.
TRACKS = ((8000, 1), (11025, 1), (16000, 1), (22050, 2), (32000, 1), (44100, 2), (48000, 2), (48000, 6))
# Every so many clips one without a sound track, and one whose track is all zeros.
TRACKLESS, ZEROS = 40, 60

# What makes fusion worth while: each modality is spoilt in its own part of the clips. The numbers are tuned so that
# small networks learn sound quickly and picture slowly (docs/datasets/ks.md has the measured accuracies).
NOISY_SOUND = 0.18
COVERED = 0.08
BLANK = 0.06
SNR_DB = (8.0, 25.0)
NOISY_SNR_DB = (-16.0, -10.0)


@dataclass(frozen=True)
class Clip:
    """One clip to generate. `number` counts all clips; `missing`: it is listed, but has no file."""

    label: int
    number: int
    video: str
    start: int
    split: str
    missing: bool

    @property
    def path(self) -> str:
        """Where it lies, as the usual copies of Kinetics have it."""
        return f"{self.split}/{CLASSES[self.label]}/{self.video}_{self.start:06d}_{self.start + SECONDS:06d}.mp4"

    @property
    def line(self) -> str:
        """Its line of the list; the published test list writes the start alone, without padding."""
        name = f"{self.start:06d}_{self.start + SECONDS:06d}" if self.split == "train" else str(self.start)
        return f"{self.video}_{name},{SECONDS},{self.label}"


def clips(settings: "KineticsSoundsSample") -> list[Clip]:
    """The listed clips of a sample, class by class."""
    listed: list[Clip] = []
    for place in range(settings.classes):
        label = place * len(CLASSES) // settings.classes
        for index in range(settings.clips_per_class):
            draw = _generator(settings.seed, str(label), str(index))
            video = "".join(ALPHABET[value] for value in draw.integers(0, len(ALPHABET), 11))
            split = "test" if index % TESTED == TESTED - 1 else "train"
            # Never the first clips, so that no class of a small sample loses all of a part.
            missing = index >= 2 * TESTED and bool(draw.random() < settings.missing)
            listed.append(Clip(label, len(listed), video, int(draw.integers(0, 300)), split, missing))
    return listed


def write_lists(listed: list[Clip], folder: Path) -> list[str]:
    """The two lists in the published format (the test list with Windows line ends); returns their relative paths."""
    for split, name in NAMES.items():
        lines = sorted(clip.line for clip in listed if clip.split == split)
        end = "\r\n" if split == "test" else "\n"
        (folder / "lists").mkdir(parents=True, exist_ok=True)
        (folder / "lists" / name).write_bytes("".join(line + end for line in lines).encode())
    return [f"lists/{name}" for name in NAMES.values()]


def write(clip: Clip, settings: "KineticsSoundsSample", folder: Path) -> str:
    """Generate one clip below `folder`; returns its relative path."""
    draw = _generator(settings.seed, clip.video, "clip")
    seconds = settings.seconds * float(draw.uniform(0.9, 1.0))
    rate, channels = TRACKS[int(draw.integers(len(TRACKS)))]
    encode.write_mp4(
        folder / clip.path,
        *clip_frames(clip, settings, seconds),
        clip_sound(clip, settings, seconds, rate, channels),
        rate,
    )
    return clip.path


def clip_sound(
    clip: Clip, settings: "KineticsSoundsSample", seconds: float, rate: int, channels: int
) -> np.ndarray | None:
    """The clip's sound before encoding, float [channels, samples] at `rate` Hz; None for no track."""
    import soxr

    if clip.number % TRACKLESS == TRACKLESS // 2:
        return None
    if clip.number % ZEROS == ZEROS // 4:
        return np.zeros((channels, round(seconds * rate)))
    generator = _generator(settings.seed, clip.video, "sound")
    noisy = generator.random() < NOISY_SOUND
    snr = generator.uniform(*(NOISY_SNR_DB if noisy else SNR_DB))
    sound = soxr.resample(instrument.play(instrument.kind(clip.label), seconds, snr, generator), instrument.RATE, rate)
    # Each channel has its own level, as a source to one side has; in 5.1 the fourth is for effects and nearly empty.
    levels = generator.uniform(0.3, 1.0, channels)
    if channels == 6:
        levels[3] *= 0.05
    return levels[:, None] * sound


def clip_frames(clip: Clip, settings: "KineticsSoundsSample", seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """The clip's pictures before encoding, uint8 [T, H, W, 3], and when each is shown (ms);
    a third of the clips at an uneven rate.
    """
    generator = _generator(settings.seed, clip.video, "picture")
    fate = generator.random()
    strength = 0.1 if fate < BLANK else generator.uniform(0.7, 1.0)
    covered = BLANK <= fate < BLANK + COVERED
    gap = 1000.0 / generator.choice([8.0, 10.0, 12.5])
    gaps = np.full(max(2, round(seconds * 1000 / gap)), gap)
    if clip.number % 3 == 1:
        gaps *= generator.choice([0.5, 1.0, 2.0], len(gaps), p=[0.4, 0.4, 0.2])
    times = np.concatenate([[0], np.cumsum(gaps).round().astype(np.int64)[:-1]])
    times = times[times < max(seconds * 1000, gap * 2)]
    return scene.film(scene.kind(clip.label), strength, times / 1000, settings.size, covered, generator), times


def _generator(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for each (seed, names)."""
    key = hashlib.sha256("/".join([str(seed), *names]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(key[:16], "big")))
