"""Generated speech-like sound: an actor's voice with an emotion's melody, rhythm and colour."""

from dataclasses import dataclass

import numpy as np

RATE = 16000  # Hz, as CREMA-D's wav files


@dataclass(frozen=True)
class Manner:
    """How an emotion sounds, relative to the actor's usual voice."""

    pitch: float  # octaves above the actor's own
    rise: float  # octaves from the clip's start to its end
    arch: float  # octaves of a hump in the middle
    tremor: float  # octaves of vibrato
    syllables: float  # a second
    attack: float  # share of a syllable until it is loudest
    tilt: float  # dB per octave of the voice's spectrum
    formants: float  # factor of the formant frequencies
    breath: float  # noise beside the voice


MANNERS = {
    "NEU": Manner(0.00, -0.10, 0.00, 0.00, 4.0, 0.50, -7.0, 1.00, 0.05),
    "HAP": Manner(0.35, 0.40, 0.50, 0.00, 5.0, 0.40, -5.0, 1.15, 0.05),
    "SAD": Manner(-0.30, -0.50, 0.00, 0.02, 2.2, 0.60, -12.0, 0.92, 0.15),
    "FEA": Manner(0.40, 0.20, -0.10, 0.10, 6.5, 0.45, -6.5, 1.05, 0.22),
    "DIS": Manner(-0.20, -0.20, 0.50, 0.00, 3.0, 0.75, -9.0, 0.85, 0.10),
    "ANG": Manner(0.15, -0.65, -0.20, 0.00, 5.6, 0.15, -2.0, 1.08, 0.04),
}
HARMONICS = 16


@dataclass(frozen=True)
class Voice:
    """An actor: pitch in Hz, formants in Hz, own shift of every manner's number."""

    pitch: float
    formants: np.ndarray
    habit: np.ndarray


def draw_voice(generator: np.random.Generator) -> Voice:
    """One actor's voice."""
    pitch = float(np.exp(generator.uniform(np.log(95.0), np.log(230.0))))
    formants = (
        np.array([560.0, 1500.0, 2600.0])
        * (1.0 + 0.06 * generator.standard_normal(3))
        * (0.9 + 0.25 * (pitch - 95.0) / 135.0)
    )
    return Voice(pitch, formants, generator.standard_normal(9))


# How far actors (first) and single clips (second) stray from a manner's numbers:
# the nuisance that a model has to see through.
_STRAY = np.array([0.07, 0.06, 0.05, 0.004, 0.25, 0.04, 0.5, 0.02, 0.02])


def speak(
    voice: Voice, emotion: str, strength: float, seconds: float, snr_db: float, generator: np.random.Generator
) -> np.ndarray:
    """Sound of one clip.

    Args:
        voice: the actor.
        emotion: key of MANNERS.
        strength: 0 (neutral) to 1 (full) expression.
        seconds: length.
        snr_db: level of the voice over white noise.
        generator: the clip's own; every draw comes from it.

    Returns:
        float64 [round(seconds * RATE)], within [-1, 1].
    """
    neutral, full = (
        np.array([getattr(MANNERS[name], field) for field in Manner.__dataclass_fields__]) for name in ("NEU", emotion)
    )
    manner = Manner(*(neutral + strength * (full - neutral) + _STRAY * (voice.habit + generator.standard_normal(9))))
    samples = round(seconds * RATE)
    time = np.arange(samples) / RATE
    phase = time / seconds

    octaves = manner.pitch + manner.rise * (phase - 0.5) + manner.arch * np.sin(np.pi * phase)
    octaves += max(manner.tremor, 0.0) * np.sin(2 * np.pi * (7.5 * time + generator.random()))
    pitch = voice.pitch * 2.0**octaves
    glottis = 2 * np.pi * np.cumsum(pitch) / RATE

    # Vowels: the formants wander from syllable to syllable, whatever the emotion.
    vowels = 1.0 + 0.18 * np.stack([_wander(time, max(manner.syllables, 1.0), generator) for _ in range(3)])
    formants = voice.formants[:, None] * max(manner.formants, 0.5) * vowels
    # Gains need no more than single precision, and their exponentials are most of the work.
    tones, formants = pitch.astype(np.float32), formants.astype(np.float32)
    octaves_up = np.log2(tones / np.float32(200.0))
    sound = np.zeros(samples)
    wave = np.exp(1j * glottis)
    turning = wave.copy()
    for number in range(1, HARMONICS + 1):
        resonance = np.float32(0.03)
        for place in range(3):
            resonance = resonance + np.exp(
                np.float32(-0.5) * ((number * tones - formants[place]) / np.float32(90.0 + 40.0 * place)) ** 2
            )
        fall = np.exp2(np.float32(manner.tilt * np.log2(10.0) / 20.0) * (octaves_up + np.float32(np.log2(number))))
        sound += resonance * fall * (number * tones < 0.45 * RATE) * turning.imag
        turning *= wave

    rhythm = _syllables(time, max(manner.syllables, 1.0), float(np.clip(manner.attack, 0.08, 0.9)), generator)
    sound *= rhythm / (np.sqrt(np.mean(sound**2)) + 1e-9)
    sound += max(manner.breath, 0.0) * rhythm * generator.standard_normal(samples)
    sound /= np.sqrt(np.mean(sound**2)) + 1e-9
    sound += 10.0 ** (-snr_db / 20.0) * generator.standard_normal(samples)
    loudness = 0.08 * 10.0 ** (generator.uniform(-3.0, 3.0) / 20.0)
    return np.clip(loudness * sound / (np.sqrt(np.mean(sound**2)) + 1e-9), -1.0, 1.0)


def _syllables(time: np.ndarray, rate: float, attack: float, generator: np.random.Generator) -> np.ndarray:
    """Loudness over time: one asymmetric hump per syllable, each of its own height."""
    cycle = time * rate + generator.random()
    place = cycle % 1.0
    heights = generator.uniform(0.6, 1.0, int(cycle[-1]) + 2)[cycle.astype(int)]
    hump = np.where(place < attack, place / attack, (1.0 - place) / (1.0 - attack))
    return heights * (0.08 + np.sin(0.5 * np.pi * hump) ** 2)


def _wander(time: np.ndarray, rate: float, generator: np.random.Generator) -> np.ndarray:
    """One random value per syllable, joined by straight lines; [samples] in [-1, 1]."""
    knots = generator.uniform(-1.0, 1.0, int(time[-1] * rate) + 3)
    return np.interp(time * rate, np.arange(len(knots)), knots)
