"""The sound of clips: windows, resampling, holes, damage."""

from pathlib import Path

import numpy as np
import pytest

import media_files as media
from equimodal.features import media as container
from equimodal.features.media import MediaError, MissingTrackError
from equimodal.features.sound import Sound


def one(sound: Sound, start: float, end: float, rate: int) -> np.ndarray:
    (wave,) = sound.read([(start, end)], rate)
    assert isinstance(wave, np.ndarray)
    return wave


def test_a_wav_is_what_librosa_loads(tmp_path: Path) -> None:
    import librosa

    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (16000, 2))
    path = media.write_wave(tmp_path / "clip.wav", samples)
    sound = Sound.probe(path)
    assert (sound.start, sound.end) == (0.0, 1.0)
    for rate in (16000, 22050, 8000):
        expected, _ = librosa.load(path, sr=rate, mono=True)
        np.testing.assert_allclose(one(sound, 0.0, 1.0, rate), expected, atol=2e-6)


def test_windows_do_not_depend_on_each_other_and_lie_where_they_say(tmp_path: Path) -> None:
    path = media.write_wave(
        tmp_path / "clip.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 48000).astype(np.float32), 48000
    )
    sound = Sound.probe(path)
    windows = [(0.1, 0.4), (0.3, 0.6), (0.9, 1.5)]
    together = sound.read(windows, 16000)
    whole = one(sound, 0.0, 1.0, 16000)
    for wave, (start, end) in zip(together, windows, strict=True):
        assert isinstance(wave, np.ndarray)
        assert np.array_equal(wave, one(sound, start, end, 16000))
        expected = whole[round(start * 16000) : round(end * 16000)]
        np.testing.assert_allclose(wave[40:-40], expected[40:-40], atol=2e-3)
        assert len(wave) == len(expected)


@pytest.mark.parametrize(
    ("name", "codec", "audio"),
    [("clip.mp4", "libx264", "aac"), ("clip.flv", "flv1", "libmp3lame"), ("clip.webm", "libvpx-vp9", "libopus")],
)
def test_sound_of_a_video_is_decoded_in_place(tmp_path: Path, name: str, codec: str, audio: str) -> None:
    path = media.write_video(tmp_path / name, codec=codec, frames=50, audio=audio, seconds=2.0)
    sound = Sound.probe(path)
    assert sound.start == pytest.approx(0.0, abs=0.06)
    assert sound.end == pytest.approx(2.0, abs=0.12)
    wave = one(sound, 1.0, 1.4, 16000)
    assert len(wave) == 6400
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    assert np.argmax(spectrum) * 16000 / len(wave) == pytest.approx(440, abs=5)
    assert np.sqrt(np.mean(wave**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


def test_a_window_far_inside_a_long_clip_is_the_same_as_decoding_all(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.mp4", frames=60, rate=5, audio="aac", seconds=12.0)
    sound = Sound.probe(path)
    whole = one(sound, 0.0, 12.0, 22050)
    np.testing.assert_allclose(one(sound, 8.0, 9.0, 22050), whole[8 * 22050 : 9 * 22050], atol=1e-3)


def test_a_window_outside_is_refused_alone(tmp_path: Path) -> None:
    sound = Sound.probe(media.write_wave(tmp_path / "clip.wav", media.tone(1.0)))
    good, bad = sound.read([(0.5, 1.5), (1.2, 1.5)], 16000)
    assert isinstance(good, np.ndarray)
    assert len(good) == 8000
    assert str(bad) == "no sound between 1.20 and 1.50 s (it lasts from 0.00 to 1.00 s)"


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "ULAW"])
def test_every_sample_format_has_the_same_scale(tmp_path: Path, subtype: str) -> None:
    sound = Sound.probe(media.write_wave(tmp_path / "clip.wav", media.tone(0.5), subtype=subtype))
    assert np.abs(one(sound, 0.0, 0.5, 16000)).max() == pytest.approx(0.5, abs=0.02)


def test_no_audio_track_is_missing_not_broken(tmp_path: Path) -> None:
    with pytest.raises(MissingTrackError, match="no audio track"):
        Sound.probe(media.write_video(tmp_path / "clip.mp4", frames=5))


def test_an_empty_wav_has_no_sound(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no sound: the track holds 0 samples"):
        Sound.probe(media.write_wave(tmp_path / "clip.wav", np.zeros(0)))


def test_a_wav_cut_short_says_how_much_is_there(tmp_path: Path) -> None:
    path = media.cut(media.write_wave(tmp_path / "clip.wav", media.tone(2.0)), 0.25)
    with pytest.raises(MediaError, match=r"truncated: decoded 0\.50 of 2\.0\d s of sound"):
        Sound.probe(path)


def test_samples_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    samples = media.tone(0.5)
    samples[100] = np.nan
    (bad,) = Sound.probe(media.write_wave(tmp_path / "clip.wav", samples, subtype="FLOAT")).read([(0.0, 0.5)], 16000)
    assert str(bad) == "damaged: the sound holds values that are not numbers"


def test_a_track_too_large_to_keep_is_read_again_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = media.write_video(tmp_path / "clip.mp4", audio="aac")
    kept = one(Sound.probe(path), 0.2, 1.2, 16000)
    monkeypatch.setattr(container, "KEPT", 0)
    assert np.array_equal(one(Sound.probe(path), 0.2, 1.2, 16000), kept)


def test_a_hole_in_the_sound_is_silence_and_what_follows_keeps_its_place(tmp_path: Path) -> None:
    import av

    path = media.write_video(tmp_path / "clip.mkv", frames=50, audio="aac", seconds=2.0)
    whole = one(Sound.probe(path), 0.0, 2.0, 22050)
    with av.open(str(path)) as source, av.open(str(tmp_path / "hole.mkv"), "w") as target:
        copied = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size and not 0.8 <= packet.pts * packet.time_base < 1.2:
                packet.stream = copied
                target.mux(packet)
    holed = one(Sound.probe(tmp_path / "hole.mkv"), 0.0, 2.0, 22050)
    silent = slice(round(0.9 * 22050), round(1.1 * 22050))
    assert not holed[silent].any()
    assert np.abs(whole[silent]).max() > 0.2
    late = slice(round(1.4 * 22050), round(1.6 * 22050))
    shift = max(range(-25, 26), key=lambda by: float(np.dot(holed[late], np.roll(whole, by)[late])))
    assert abs(shift) / 22050 < 0.002
