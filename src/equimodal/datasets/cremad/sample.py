"""A generated stand-in for CREMA-D: its names, folders and codecs, a class signal in sound and picture,
sound being the easier one.

Every clip draws from generators of its own, seeded by (seed, clip or actor), so a file's bytes do not depend on which
others are made.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from equimodal.datasets.synthesis import encode, face, voice

if TYPE_CHECKING:
    from equimodal.datasets.cremad.settings import CremadSample

SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
LEVELS = ("LO", "MD", "HI")
TRACK_RATE = 22050  # Hz of the flv's own sound track: mp3 in flv cannot have 16 kHz

# What makes fusion worth while: each modality is spoilt in its own part of the clips. The numbers are tuned so that
# small networks learn sound quickly and picture slowly (docs/datasets/cremad.md has the measured accuracies).
NOISY_SOUND = 0.18
COVERED_FACE = 0.08
BLANK_FACE = 0.06
SNR_DB = (15.0, 30.0)
NOISY_SNR_DB = (-14.0, -8.0)
STRENGTH = {"LO": (0.5, 0.7), "MD": (0.7, 0.9), "HI": (0.9, 1.1), "XX": (0.75, 1.1)}
FACE_STRENGTH = 0.7  # faces show less than voices tell


@dataclass(frozen=True)
class Clip:
    """One clip to generate."""

    actor: int
    sentence: str
    emotion: str
    level: str

    @property
    def stem(self) -> str:
        """File name without suffix, as CREMA-D's."""
        return f"{self.actor}_{self.sentence}_{self.emotion}_{self.level}"


def clips(settings: "CremadSample") -> list[Clip]:
    """The clips of a sample: for each actor the emotions in turn, each time with another sentence."""
    listed = []
    for number in range(settings.actors):
        for index in range(settings.clips_per_actor):
            turn, kind = divmod(index, len(EMOTIONS))
            sentence, emotion = SENTENCES[(turn + number) % len(SENTENCES)], EMOTIONS[kind]
            graded = sentence == "IEO" and emotion != "NEU"  # the one sentence that CREMA-D has at three levels
            listed.append(Clip(1001 + number, sentence, emotion, LEVELS[(number + kind) % 3] if graded else "XX"))
    return listed


def write(clip: Clip, settings: "CremadSample", folder: Path) -> list[str]:
    """Generate one clip below `folder`; returns the two files' relative paths."""
    wav, flv = f"AudioWAV/{clip.stem}.wav", f"VideoFlash/{clip.stem}.flv"
    seconds = settings.seconds * float(_generator(settings.seed, clip.stem, "length").uniform(0.85, 1.0))
    sound = clip_sound(clip, settings, seconds)
    encode.write_wav(folder / wav, sound, voice.RATE)
    track = np.interp(np.arange(round(seconds * TRACK_RATE)) / TRACK_RATE, np.arange(len(sound)) / voice.RATE, sound)
    encode.write_clip(
        folder / flv, clip_frames(clip, settings, seconds), face.FPS, track, TRACK_RATE, ("flv", "libmp3lame")
    )
    return [wav, flv]


def clip_sound(clip: Clip, settings: "CremadSample", seconds: float) -> np.ndarray:
    """The clip's sound before encoding, float [samples] at voice.RATE."""
    generator = _generator(settings.seed, clip.stem, "sound")
    noisy = generator.random() < NOISY_SOUND
    snr = generator.uniform(*(NOISY_SNR_DB if noisy else SNR_DB))
    strength = generator.uniform(*STRENGTH[clip.level])
    actor = voice.draw_voice(_generator(settings.seed, str(clip.actor), "voice"))
    return voice.speak(actor, clip.emotion, strength, seconds, snr, generator)


def clip_frames(clip: Clip, settings: "CremadSample", seconds: float) -> np.ndarray:
    """The clip's pictures before encoding, uint8 [T, H, W, 3]."""
    generator = _generator(settings.seed, clip.stem, "picture")
    fate = generator.random()
    strength = 0.1 if fate < BLANK_FACE else FACE_STRENGTH * generator.uniform(*STRENGTH[clip.level])
    covered = BLANK_FACE <= fate < BLANK_FACE + COVERED_FACE
    actor = face.draw_face(_generator(settings.seed, str(clip.actor), "face"))
    return face.film(actor, clip.emotion, strength, seconds, settings.size, covered, generator)


def _generator(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for each (seed, names)."""
    key = hashlib.sha256("/".join([str(seed), *names]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(key[:16], "big")))
