"""Spectrograms against librosa and against an independent kaldi in NumPy; windows, filling, noise."""

from pathlib import Path

import numpy as np
import pytest

import media_files as media
from equimodal.features import spectrogram
from equimodal.features.contract import Segment
from equimodal.features.media import MediaError
from equimodal.settings.features import SpectrogramSettings

WHOLE = Segment(0, "whole", None, None)


def settings(**changes: object) -> SpectrogramSettings:
    return SpectrogramSettings.model_validate({"kind": "spectrogram", **changes})


def rows(path: Path, segments: list[Segment], chosen: SpectrogramSettings) -> list[np.ndarray | MediaError]:
    found = spectrogram.extract(path, segments, chosen)
    for row in found:
        if isinstance(row, np.ndarray):
            assert row.shape == spectrogram.shape(chosen)
            assert row.dtype == spectrogram.dtype(chosen)
            assert np.isfinite(row).all()
    return found


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """1.3 s at 16 kHz, energy at all frequencies, rising."""
    samples = np.random.default_rng(1).normal(0, 0.05, 20800) * np.linspace(0.2, 2, 20800)
    return media.write_wave(tmp_path / "voice.wav", samples.astype(np.float32), subtype="FLOAT")


def test_preset_ogm_is_what_the_ogm_script_computes(voice: Path) -> None:
    import librosa

    (row,) = rows(voice, [WHOLE], settings(preset="ogm"))
    samples, rate = librosa.load(voice, sr=22050)
    samples = np.clip(np.tile(samples, 3)[: rate * 3], -1, 1)
    expected = np.log(np.abs(librosa.stft(samples, n_fft=512, hop_length=353, pad_mode="reflect")) + 1e-7)
    assert row.shape == (1, 257, 188)
    audible = expected > np.log(1e-3)  # above 8 kHz there is rounding only
    assert audible.mean() > 0.6
    np.testing.assert_allclose(row[0][audible], expected[audible], atol=2e-3)
    np.testing.assert_allclose(np.exp(row[0]), np.exp(expected), atol=1e-5)


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_custom_is_librosas_log_mel_spectrogram(voice: Path, pad_mode: str) -> None:
    import librosa

    chosen = settings(
        seconds=1.0, n_fft=512, window=400, hop=160, mel_bins=40, floor=1e-6, pad_mode=pad_mode, mean=-5.0, std=2.0
    )
    (row,) = rows(voice, [WHOLE], chosen)
    samples, _ = librosa.load(voice, sr=None)
    power = librosa.feature.melspectrogram(
        y=samples[:16000], sr=16000, n_fft=512, win_length=400, hop_length=160, n_mels=40, pad_mode=pad_mode
    )
    np.testing.assert_allclose(row[0], (np.log(power + 1e-6) + 5) / 2, atol=1e-3)


def kaldi_fbank(samples: np.ndarray) -> np.ndarray:
    """kaldi's fbank in double precision, frame by frame:
    hanning, htk_compat, 128 bins, no dither, no energy. [T, 128]
    """
    samples = samples.astype(np.float64) - samples.mean()
    mel_of = lambda hz: 1127 * np.log(1 + hz / 700)  # noqa: E731
    edges = np.linspace(mel_of(20), mel_of(8000), 130)
    result = []
    for begin in range(0, len(samples) - 399, 160):
        frame = samples[begin : begin + 400].copy()
        frame -= frame.mean()
        frame = np.array([frame[0] - 0.97 * frame[0], *(frame[i] - 0.97 * frame[i - 1] for i in range(1, 400))])
        frame *= 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
        power = np.abs(np.fft.fft(frame, 512)[:256]) ** 2
        at = mel_of(np.arange(256) * 16000 / 512)
        energies = [
            (
                power
                * np.clip(
                    np.minimum(
                        (at - edges[b]) / (edges[b + 1] - edges[b]), (edges[b + 2] - at) / (edges[b + 2] - edges[b + 1])
                    ),
                    0,
                    None,
                )
            ).sum()
            for b in range(128)
        ]
        result.append(np.log(np.maximum(energies, 1.1920929e-07)))
    return np.array(result)


def test_preset_fbank_is_kaldis_padded_by_zero_frames(voice: Path) -> None:
    (row,) = rows(voice, [WHOLE], settings(preset="fbank"))
    import soundfile

    expected = kaldi_fbank(soundfile.read(voice)[0])
    assert row.shape == (1, 128, 1024)
    assert len(expected) == 1 + (20800 - 400) // 160
    filled = np.zeros((1024, 128))
    filled[: len(expected)] = expected
    np.testing.assert_allclose(row[0].T, (filled + 4.503877) / (2 * 5.141276), atol=2e-3)


def test_fbank_of_a_long_clip_fills_every_frame(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 16000 * 11).astype(np.float32)
    (row,) = rows(
        media.write_wave(tmp_path / "long.wav", samples, subtype="FLOAT"),
        [WHOLE],
        settings(preset="fbank", remove_mean=False),
    )
    expected = (kaldi_fbank(samples)[1023] + 4.503877) / (2 * 5.141276)
    np.testing.assert_allclose(row[0, :, 1023], expected, atol=2e-2)


@pytest.mark.parametrize(
    "changes",
    [
        {"preset": "ogm"},
        {"preset": "fbank"},
        {"preset": "fbank", "frames": None, "seconds": 2.0},
        {"seconds": 0.5, "mel_bins": None, "dtype": "float16"},
        {"seconds": 2.0, "frames": 77, "fit": "tile"},
        {"seconds": 0.02, "hop": 441, "sample_rate": 44100},
        {"preset": "ogm", "noise_snr_db": -10.0},
    ],
)
def test_shape_is_known_without_decoding(voice: Path, changes: dict[str, object]) -> None:
    rows(voice, [WHOLE, Segment(1, "part", 0.2, 0.3)], settings(**changes))


def wave_settings(**changes: object) -> SpectrogramSettings:
    return settings(**{"seconds": 0.5, "align": "middle", **changes})


def test_a_window_around_the_middle_reaches_into_the_clips_real_sound() -> None:
    chosen = wave_settings()
    sound = type("Extent", (), {"start": 0.0, "end": 3.0})()
    assert spectrogram.window(Segment(0, "a", 1.0, 1.2), sound, chosen) == pytest.approx((0.85, 1.35))
    assert spectrogram.window(Segment(0, "a", 0.0, 0.2), sound, chosen) == pytest.approx((-0.15, 0.35))
    assert spectrogram.window(WHOLE, sound, chosen) == pytest.approx((1.25, 1.75))
    assert spectrogram.window(Segment(0, "a", 1.0, 1.2), sound, wave_settings(align="start")) == pytest.approx(
        (1.0, 1.2)
    )
    assert spectrogram.window(Segment(0, "a", 1.0, 2.0), sound, wave_settings(align="start")) == pytest.approx(
        (1.0, 1.5)
    )


def test_middle_windows_at_the_clips_edges_keep_their_place(voice: Path) -> None:
    """Word at 0.0-0.1 s: the window is -0.2 to 0.3 s,
    so its first 0.2 s are silence and then comes the clip's beginning.
    """
    chosen = wave_settings(n_fft=160, window=160, hop=160, mel_bins=None)
    early, late, inner = rows(
        voice, [Segment(0, "e", 0.0, 0.1), Segment(1, "l", 1.2, 1.3), Segment(2, "i", 0.2, 0.3)], chosen
    )
    silence = np.log(1e-7)
    assert np.allclose(early[0, :, 1:20], silence)
    np.testing.assert_allclose(early[0, :, 21:50], inner[0, :, 1:30], atol=1e-3)
    assert (late[0, :, :30] > silence + 3).any(axis=0).all()
    assert np.allclose(late[0, :, 32:], silence)


def test_fill_tiles_or_pads() -> None:
    wave = np.array([1, 2, 3], dtype=np.float32)
    assert spectrogram.fill(wave, 0, 7, "tile").tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert spectrogram.fill(wave, 0, 5, "pad").tolist() == [1, 2, 3, 0, 0]
    assert spectrogram.fill(wave, 1, 5, "pad").tolist() == [0, 1, 2, 3, 0]
    assert spectrogram.fill(wave, 4, 5, "pad").tolist() == [0, 0, 0, 0, 1]
    assert spectrogram.fill(wave, 0, 2, "pad").tolist() == [1, 2]


@pytest.mark.parametrize("snr", [-10.0, 0.0, 20.0])
def test_noise_has_the_stated_ratio_to_the_samples_own_power(snr: float) -> None:
    wave = media.tone(1.0) * 0.1
    drawn = spectrogram.noise(wave, 50000, snr, 0, "a")
    assert 10 * np.log10(np.mean(wave**2) / np.mean(drawn**2)) == pytest.approx(snr, abs=0.1)
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.02


def test_noise_is_drawn_by_seed_and_sample() -> None:
    wave = media.tone(0.1)
    first = spectrogram.noise(wave, 100, 0.0, 0, "a")
    assert np.array_equal(first, spectrogram.noise(wave, 100, 0.0, 0, "a"))
    assert not np.array_equal(first, spectrogram.noise(wave, 100, 0.0, 1, "a"))
    assert not np.array_equal(first, spectrogram.noise(wave, 100, 0.0, 0, "b"))


def test_a_silent_clip_stays_finite_even_with_noise(tmp_path: Path) -> None:
    """CREMA-D's 1076_MTI_SAD_XX is silent."""
    path = media.write_wave(tmp_path / "silent.wav", np.zeros(16000))
    for chosen in (settings(preset="ogm"), settings(preset="fbank"), settings(noise_snr_db=0.0)):
        (row,) = rows(path, [WHOLE], chosen)
        assert row.std() < 5


def test_samples_of_one_clip_are_as_if_alone(voice: Path) -> None:
    chosen = wave_settings(noise_snr_db=0.0)
    segments = [Segment(0, "a", 0.1, 0.3), Segment(1, "b", 0.9, 1.0), Segment(2, "c", 5.0, 6.0)]
    together = rows(voice, segments, chosen)
    assert "no sound between" in str(together[2])
    for segment, row in zip(segments[:2], together, strict=False):
        assert np.array_equal(row, rows(voice, [segment], chosen)[0])
