"""Generated sounds of things and actions: each kind has its own register, rhythm, decay, colour and share of noise."""

from dataclasses import dataclass

import numpy as np

RATE = 16000  # Hz
HARMONICS = 8
# Powers of the generalised golden ratio of six dimensions: kinds 0, 1, 2, ... spread evenly over all six at once,
# however many there are.
_STEPS = 1.0 / np.array([1.1347241384015194**power for power in range(1, 7)])


@dataclass(frozen=True)
class Kind:
    """How one kind of thing sounds."""

    register: float  # Hz of the lowest tone
    rate: float  # strokes a second
    decay: float  # seconds until a stroke has faded to 1/e
    tilt: float  # dB per octave of the tone's spectrum
    noise: float  # share of noise in a stroke's sound, in [0, 1]
    band: float  # Hz, middle of that noise


def kind(number: int) -> Kind:
    """The kind of this number (0, 1, ...). All that tells it lies below 4 kHz: a track of 8 kHz still has it."""
    place = (0.5 + (number + 1) * _STEPS) % 1.0
    return Kind(
        register=float(110.0 * 6.0 ** place[0]),
        rate=float(1.5 * 5.0 ** place[1]),
        decay=float(0.04 * 12.0 ** place[2]),
        tilt=float(-12.0 + 9.0 * place[3]),
        noise=float(np.clip(1.4 * place[4] - 0.2, 0.0, 1.0)),
        band=float(350.0 * 8.0 ** place[5]),
    )


def play(sounding: Kind, seconds: float, snr_db: float, generator: np.random.Generator) -> np.ndarray:
    """Sound of one clip.

    Args:
        sounding: what is heard.
        seconds: length.
        snr_db: level over the noise of the place.
        generator: the clip's own; every draw comes from it.

    Returns:
        float64 [round(seconds * RATE)], within [-1, 1].
    """
    samples = round(seconds * RATE)
    time = np.arange(samples) / RATE
    stray = np.exp(generator.normal(0.0, (0.18, 0.10, 0.15, 0.12)))
    pitch = (
        sounding.register
        * stray[0]
        * 2.0 ** (0.12 * np.cumsum(generator.standard_normal(samples // 800 + 2)).repeat(800)[:samples] * 0.15)
    )
    strokes, age = _strokes(time, sounding.rate * stray[1], generator)
    loudness = strokes * np.exp(-age / (sounding.decay * stray[2])) * np.minimum(age / 0.008, 1.0)

    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    tone = np.zeros(samples)
    for number in range(1, HARMONICS + 1):
        level = 10.0 ** (sounding.tilt * np.log2(number) / 20.0)
        tone += level * np.sin(number * phase + generator.uniform(0, 2 * np.pi)) * (number * pitch < 0.45 * RATE)
    hiss = _band(generator.standard_normal(samples), sounding.band * stray[3])
    sound = loudness * ((1.0 - sounding.noise) * _unit(tone) + sounding.noise * _unit(hiss))
    hum = float(np.exp(generator.uniform(np.log(200.0), np.log(3500.0))))
    place = _band(generator.standard_normal(samples), hum) + 0.3 * generator.standard_normal(samples)
    sound = _unit(sound) + 10.0 ** (-snr_db / 20.0) * _unit(place)
    return np.clip(0.08 * 10.0 ** (generator.uniform(-6.0, 6.0) / 20.0) * _unit(sound), -1.0, 1.0)


def _strokes(time: np.ndarray, rate: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Strength of the stroke that sounds at each moment, and the seconds since it began;
    strokes come a little unevenly.
    """
    count = int(time[-1] * rate * 1.5) + 4
    begins = (
        np.cumsum(np.maximum(1.0 / rate * (1.0 + 0.15 * generator.standard_normal(count)), 0.02))
        - generator.uniform(0.5, 1.5) / rate
    )
    which = np.clip(np.searchsorted(begins, time, side="right") - 1, 0, count - 1)
    return generator.uniform(0.5, 1.0, count)[which], np.maximum(time - begins[which], 0.0)


def _band(noise: np.ndarray, middle: float) -> np.ndarray:
    """Noise within about half an octave of `middle` Hz."""
    spectrum = np.fft.rfft(noise)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(noise), 1.0 / RATE), 1.0) / middle)
    return np.fft.irfft(spectrum * np.exp(-0.5 * (octaves / 0.35) ** 2), len(noise))


def _unit(sound: np.ndarray) -> np.ndarray:
    """Scaled to a mean square of 1."""
    return sound / (np.sqrt(np.mean(np.square(sound))) + 1e-9)
