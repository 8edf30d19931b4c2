"""Mel filters against librosa and against kaldi's formula."""

import numpy as np
import pytest

from equimodal.features import mel


@pytest.mark.parametrize(("rate", "n_fft", "bins"), [(16000, 512, 40), (22050, 1024, 128), (44100, 2048, 64)])
def test_slaney_is_librosas_default(rate: int, n_fft: int, bins: int) -> None:
    import librosa

    np.testing.assert_allclose(
        mel.slaney(rate, n_fft, bins), librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bins), atol=1e-8
    )


def test_kaldi_triangles_are_straight_in_mel() -> None:
    filters = mel.kaldi(16000, 512, 128)
    to_mel = lambda hz: 1127.0 * np.log(1.0 + hz / 700.0)  # noqa: E731
    low, high = to_mel(20.0), to_mel(8000.0)
    step = (high - low) / 129
    expected = np.zeros((128, 257))
    for index in range(128):
        left, centre, right = (low + (index + side) * step for side in range(3))
        for bin_ in range(256):
            at = to_mel(bin_ * 16000 / 512)
            if left < at < right:
                expected[index, bin_] = (
                    (at - left) / (centre - left) if at <= centre else (right - at) / (right - centre)
                )
    np.testing.assert_allclose(filters, expected, atol=1e-6)
