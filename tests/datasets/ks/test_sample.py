"""The generated stand-in for Kinetics-Sounds:
its lists, names and codecs, the same bytes each time, odd tracks among them.
"""

from pathlib import Path

import av
import numpy as np
import pytest
import soxr

from equimodal.datasets.ks import sample as ks_sample
from equimodal.datasets.ks.lists import CLASSES, read_lists
from equimodal.datasets.ks.settings import KineticsSoundsSample
from equimodal.datasets.synthesis import encode, instrument, scene
from equimodal.features.sound import Sound
from small_datasets import KS, kind_of, params_of

SMALL = KineticsSoundsSample(classes=2, clips_per_class=30, seconds=0.6, size=(32, 40))


def test_lists_name_every_clip_and_a_few_that_are_missing(project: Path) -> None:
    settings = KineticsSoundsSample(clips_per_class=100, missing=0.05)
    listed = ks_sample.clips(settings)
    assert len(listed) == len({clip.video for clip in listed}) == 800 and len({clip.label for clip in listed}) == 8
    assert 0.02 < sum(clip.missing for clip in listed) / 800 < 0.08
    assert sum(clip.split == "test" for clip in listed) == 160
    paths = ks_sample.write_lists(listed, project)
    wanted = read_lists({"train": str(project / paths[0]), "test": str(project / paths[1])}, "key")
    assert len(wanted) == 800 and {item.label for item in wanted} == {CLASSES[clip.label] for clip in listed}
    first = (project / paths[1]).read_bytes().splitlines(keepends=True)[0]
    assert first.endswith(b"\r\n") and first.count(b",") == 2
    assert {clip.label for clip in ks_sample.clips(KineticsSoundsSample(classes=31, clips_per_class=10))} == set(
        range(31)
    )


def test_a_clips_bytes_do_not_depend_on_the_others(tmp_path: Path) -> None:
    clips = ks_sample.clips(SMALL)
    for clip in (clips[1], clips[5], clips[30]):
        one, two = (tmp_path / name / ks_sample.write(clip, SMALL, tmp_path / name) for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
        ks_sample.clip_frames(clips[7], SMALL, 0.6)  # other memory below the encoder
    other = SMALL.model_copy(update={"seed": 1})
    assert ks_sample.clips(other)[1].video != clips[1].video


def test_odd_tracks_are_among_the_clips(tmp_path: Path) -> None:
    listed = ks_sample.clips(KineticsSoundsSample(classes=2, clips_per_class=60, missing=0.0))
    sounds = {clip.number: ks_sample.clip_sound(clip, SMALL, 0.6, 16000, 2) for clip in listed}
    assert sum(sound is None for sound in sounds.values()) == 3
    assert sum(sound is not None and not sound.any() for sound in sounds.values()) == 2
    seen = set()
    for clip in listed[:24]:
        path = tmp_path / ks_sample.write(clip, SMALL, tmp_path)
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            assert (video.codec_context.name, video.width, video.height) == ("h264", 40, 32)
            stamps = [packet.pts for packet in container.demux(video) if packet.pts is not None]
            uneven = len(set(np.diff(sorted(stamps)))) > 1
            for stream in container.streams.audio:
                assert stream.codec_context.name == "aac"
                seen.add((stream.rate, stream.channels, uneven))
    rates, channels, uneven = (set(values) for values in zip(*seen, strict=True))
    assert {8000, 48000} <= rates and channels == {1, 2, 6} and uneven == {False, True}


def test_sound_of_any_rate_and_channel_count_is_the_same_sound(tmp_path: Path) -> None:
    """What differs between a clip in 8 kHz mono and in 48 kHz 5.1 is the level and what lies above 4 kHz."""
    time = np.arange(16000) / 16000
    tone = 0.4 * np.sin(2 * np.pi * 600 * time) * (time > 0.5)
    frames, times = np.zeros((4, 32, 32, 3), np.uint8), np.arange(4) * 250
    waves = {}
    for rate, channels in ks_sample.TRACKS:
        sound = soxr.resample(tone, 16000, rate)
        levels = np.linspace(0.5, 1.0, channels)
        if channels == 6:
            levels[3] = 0.0  # the channel for low effects: AAC cuts it off far below 600 Hz
        encode.write_mp4(tmp_path / "clip.mp4", frames, times, levels[:, None] * sound, rate)
        found = Sound.probe(tmp_path / "clip.mp4")
        (wave,) = found.read([(0.0, 1.0)], 16000)
        assert isinstance(wave, np.ndarray) and abs(len(wave) - 16000) <= 800
        waves[rate, channels] = wave
        late = wave[9000:14000]
        # the mean of the channels
        assert np.sqrt(np.mean(late**2)) == pytest.approx(0.4 / np.sqrt(2) * levels.mean(), rel=0.1)
        spectrum = np.abs(np.fft.rfft(late * np.hanning(len(late))))
        assert np.argmax(spectrum) * 16000 / len(late) == pytest.approx(600, abs=5)
        onset = np.flatnonzero(np.abs(wave) > 0.05)[0] / 16000
        assert onset == pytest.approx(0.5, abs=0.015)


def test_kinds_differ_and_stay_below_4_khz() -> None:
    kinds = [instrument.kind(number) for number in range(31)]
    assert (
        len(set(kinds)) == 31 and max(kind.band for kind in kinds) < 3000 and max(kind.register for kind in kinds) < 700
    )
    looks = [(scene.kind(number).lobes, scene.kind(number).pattern) for number in range(31)]
    assert len(set(looks)) == 31


def test_the_sample_goes_through_the_code_of_a_copy(project: Path) -> None:
    kind = kind_of(params_of(KS), "d")
    scratch = project / "data" / "d" / "raw"
    scratch.mkdir(parents=True)
    files = kind.acquire(scratch)
    listing = kind.listing(files)
    assert len(listing.samples) + len(listing.missing or ()) == 24 and listing.classes == (
        "blowing_nose",
        "playing_organ",
    )
    assert set(files) == {
        path.relative_to(scratch).as_posix() for path in scratch.rglob("*.*") if path.name != "availability.json"
    }
    assert kind.expected(files) == files and all(fact.sha256 for fact in files.values())
    assert all(sample.paths["audio"] == sample.paths["visual"] in files for sample in listing.samples)
