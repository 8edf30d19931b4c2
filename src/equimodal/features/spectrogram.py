"""Log spectrograms and log mel filter banks of a clip's sound (methods.md 23.1, audio A and B)."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from equimodal.features import mel
from equimodal.features.contract import Segment
from equimodal.features.media import MediaError
from equimodal.features.sound import Sound, Window
from equimodal.settings.features import SpectrogramSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LIBRARIES = ("scipy.fft", "scipy.sparse", "soxr", "soundfile", "av")

PREEMPHASIS = 0.97  # kaldi's default


def shape(settings: SpectrogramSettings) -> tuple[int, int, int]:
    """(1, bins, time steps), told from the settings alone."""
    return 1, settings.mel_bins or settings.n_fft // 2 + 1, settings.frames or 1 + samples(settings) // settings.hop


def dtype(settings: SpectrogramSettings) -> str:
    """How rows are stored."""
    return settings.dtype


def notes(settings: SpectrogramSettings) -> dict[str, Any]:
    """Nothing: values are (logarithm - mean) / std of the settings."""
    return {}


def samples(settings: SpectrogramSettings) -> int:
    """Sound samples that one row is made of. fbank: as many as its frames reach, 10.255 s for 1,024 frames of 25 ms."""
    if settings.preset == "fbank" and settings.fit == "pad" and settings.frames:
        return (settings.frames - 1) * settings.hop + settings.window
    return round(settings.seconds * settings.sample_rate)


def extract(path: Path, segments: Sequence[Segment], settings: SpectrogramSettings) -> list[np.ndarray | MediaError]:
    """Rows [1, bins, T] of a clip's segments.

    `align: start` keeps a segment's beginning and stops at its end. `align: middle` keeps `seconds` around its middle,
    and reaches outside the segment into the clip's real sound where the clip has it.
    What is still lacking is filled up by `fit`.

    Raises:
        MissingTrackError: the clip has no sound.
        MediaError: unreadable, empty, cut off.
    """
    sound = Sound.probe(path)
    windows = [window(segment, sound, settings) for segment in segments]
    rows: list[np.ndarray | MediaError] = []
    for segment, wanted, wave in zip(segments, windows, sound.read(windows, settings.sample_rate), strict=True):
        if isinstance(wave, MediaError):
            rows.append(wave)
            continue
        lead = round(max(0.0, sound.start - wanted[0]) * settings.sample_rate) if settings.align == "middle" else 0
        rows.append(row(wave, lead, segment.id, settings))
    return rows


def window(segment: Segment, sound: Sound, settings: SpectrogramSettings) -> Window:
    """The seconds of the clip that a segment's row is made of; it may reach beyond the clip."""
    start = sound.start if segment.start is None else segment.start
    end = sound.end if segment.end is None else segment.end
    length = samples(settings) / settings.sample_rate
    if settings.align == "middle":
        middle = (start + end) / 2
        return middle - length / 2, middle + length / 2
    return start, min(end, start + length)


def row(wave: np.ndarray, lead: int, sample: str, settings: SpectrogramSettings) -> np.ndarray:
    """One row [1, bins, T] from a mono waveform [n];
    `lead`: samples of silence before it (a window that begins before the clip).
    """
    kaldi = settings.preset == "fbank"
    filled = (
        wave[: samples(settings)]
        if kaldi and settings.fit == "pad"
        else fill(wave, lead, samples(settings), settings.fit)
    )
    if settings.clip:
        filled = np.clip(filled, -1.0, 1.0)
    if settings.noise_snr_db is not None:
        filled = filled + noise(wave, len(filled), settings.noise_snr_db, settings.noise_seed, sample)
    if settings.remove_mean:
        filled = filled - filled.mean()
    logarithm = _fbank(filled, settings) if kaldi else _spectrogram(filled, settings)
    return ((logarithm - np.float32(settings.mean)) / np.float32(settings.std)).astype(settings.dtype)[None]


def fill(wave: np.ndarray, lead: int, length: int, fit: str) -> np.ndarray:
    """Cut to `length` samples, or fill up: `tile` repeats the sound, `pad` puts `lead` samples of silence before it and
    the rest after.
    """
    if fit == "tile":
        return np.tile(wave, -(-length // len(wave)))[:length]
    filled = np.zeros(length, dtype=np.float32)
    lead = min(lead, length)
    kept = wave[: length - lead]
    filled[lead : lead + len(kept)] = kept
    return filled


def noise(wave: np.ndarray, length: int, snr_db: float, seed: int, sample: str) -> np.ndarray:
    """White noise [length] whose power is `snr_db` dB below that of the sample's own sound `wave`; its draw depends on
    (seed, sample) alone.

    A silent sample gets none: the ratio has no meaning there.
    """
    key = hashlib.sha256(f"{seed}/{sample}".encode()).digest()
    power = float(np.mean(np.square(wave, dtype=np.float64)))
    drawn = np.random.Generator(np.random.PCG64(int.from_bytes(key[:16], "little"))).standard_normal(
        length, dtype=np.float32
    )
    return drawn * np.float32(np.sqrt(power / 10 ** (snr_db / 10)))


def _spectrogram(wave: np.ndarray, settings: SpectrogramSettings) -> np.ndarray:
    """log(magnitude + floor), or log(mel power + floor): librosa's stft (centred, periodic Hann window) and
    melspectrogram. [bins, T]
    """
    wave = np.pad(wave, settings.n_fft // 2, mode="reflect" if settings.pad_mode == "reflect" else "constant")
    spectrum = _transform(_strided(wave, settings.n_fft, settings.hop) * _hann(settings.window, settings.n_fft))
    values = np.abs(spectrum).T if settings.mel_bins is None else _filters(settings) @ _power(spectrum).T
    logarithm = np.log(values + np.float32(settings.floor))
    return _to_length(logarithm, settings.frames or logarithm.shape[1], float(np.log(settings.floor)))


def _fbank(wave: np.ndarray, settings: SpectrogramSettings) -> np.ndarray:
    """kaldi's `fbank` as the GeWu codes call it through torchaudio:
    Hann window, htk_compat, no energy, no dither. [bins, T]

    Frames lie wholly inside the sound (snip_edges); of each the mean is removed, pre-emphasis 0.97 with its first
    sample repeated, symmetric Hann window, power spectrum, kaldi's mel triangles from 20 Hz to half the rate, logarithm
    of max(energy, floor). Missing frames are 0 before normalisation, as those codes pad them. Deviation: sums in single
    precision, in another order than kaldi's.
    """
    if len(wave) < settings.window:
        wave = fill(wave, 0, settings.window, "pad")
    frames = _strided(wave, settings.window, settings.hop)
    frames = frames - frames.mean(axis=1, keepdims=True)
    emphasised = frames - np.float32(PREEMPHASIS) * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    padded = np.zeros((len(frames), settings.n_fft), dtype=np.float32)
    padded[:, : settings.window] = emphasised * np.hanning(settings.window).astype(np.float32)
    energies = _filters(settings) @ _power(_transform(padded)).T
    logarithm = np.log(np.maximum(energies, np.float32(settings.floor)))
    return _to_length(logarithm, shape(settings)[2], 0.0)


def _to_length(values: np.ndarray, length: int, filling: float) -> np.ndarray:
    """Cut or fill the last axis to `length`."""
    lacking = length - values.shape[1]
    return np.pad(values, ((0, 0), (0, lacking)), constant_values=filling) if lacking > 0 else values[:, :length]


def _strided(wave: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Overlapping windows without a copy. [n] -> [T, length]"""
    return np.lib.stride_tricks.sliding_window_view(wave, length)[::hop]


def _transform(frames: np.ndarray) -> np.ndarray:
    """complex64 [T, length // 2 + 1]; scipy's is 5 times faster than numpy's, and than librosa.stft."""
    import scipy.fft

    return scipy.fft.rfft(frames, axis=-1, workers=1)


def _power(spectrum: np.ndarray) -> np.ndarray:
    return np.square(spectrum.real) + np.square(spectrum.imag)


@lru_cache(maxsize=4)
def _hann(length: int, n_fft: int) -> np.ndarray:
    """Periodic Hann window in the middle of a Fourier window, as librosa pads it."""
    centred = np.zeros(n_fft, dtype=np.float32)
    begin = (n_fft - length) // 2
    centred[begin : begin + length] = np.hanning(length + 1)[:-1]
    return centred


@lru_cache(maxsize=4)
def _filters(settings: SpectrogramSettings) -> "csr_array":
    """Mel filters [bins, n_fft // 2 + 1]. Sparse: 4 times faster than BLAS, whose threads could change the bits."""
    from scipy.sparse import csr_array

    build = mel.kaldi if settings.preset == "fbank" else mel.slaney
    return csr_array(build(settings.sample_rate, settings.n_fft, shape(settings)[1]))
