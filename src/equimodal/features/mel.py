"""Mel filters. As librosa's and kaldi's, without the 2.4 s that the first use of librosa costs;
the tests compare them with librosa.
"""

import numpy as np


def slaney(sample_rate: int, n_fft: int, bins: int) -> np.ndarray:
    """Triangles on Slaney's mel scale, of equal area: `librosa.filters.mel` with its defaults.

    Returns:
        float32 [bins, n_fft // 2 + 1], to be multiplied with a power spectrum.
    """
    edges = _slaney_to_hz(np.linspace(0.0, _hz_to_slaney(sample_rate / 2), bins + 2))
    frequencies = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    triangles = _triangles(edges, frequencies)
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def kaldi(sample_rate: int, n_fft: int, bins: int, low: float = 20.0) -> np.ndarray:
    """Triangles of height 1 that are straight on the mel scale itself, from `low` Hz up:
    kaldi's `MelBanks` without warping.

    Returns:
        float32 [bins, n_fft // 2 + 1]; the bin at half the sample rate has no weight, as in kaldi.
    """
    edges = np.linspace(_hz_to_htk(low), _hz_to_htk(sample_rate / 2), bins + 2)
    frequencies = _hz_to_htk(np.arange(n_fft // 2 + 1) * (sample_rate / n_fft))
    triangles = _triangles(edges, frequencies)
    triangles[:, -1] = 0.0
    return triangles.astype(np.float32)


def _triangles(edges: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Rise from edge i to i + 1, fall to i + 2. Shape [len(edges) - 2, len(positions)]."""
    slopes = (positions[None, :] - edges[:, None]) / np.diff(edges, append=np.inf)[:, None]
    return np.maximum(0.0, np.minimum(slopes[:-2], 1.0 - slopes[1:-1]))


def _hz_to_htk(hz: np.ndarray | float) -> np.ndarray:
    """The mel scale of HTK and kaldi: 1127 ln(1 + f / 700)."""
    return 1127.0 * np.log1p(np.asarray(hz, dtype=np.float64) / 700.0)


# Slaney's scale (Auditory Toolbox, 1998): linear up to 1 kHz, 15 mel there,
# then 27 steps per octave-like factor of 6.4.
_KNEE_HZ, _KNEE_MEL, _STEP = 1000.0, 15.0, np.log(6.4) / 27.0


def _hz_to_slaney(hz: float) -> float:
    return float(hz * _KNEE_MEL / _KNEE_HZ if hz < _KNEE_HZ else _KNEE_MEL + np.log(hz / _KNEE_HZ) / _STEP)


def _slaney_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < _KNEE_MEL, mel * _KNEE_HZ / _KNEE_MEL, _KNEE_HZ * np.exp(_STEP * (mel - _KNEE_MEL)))
