"""A dataset's rows: independent of workers, one decoding per clip, failures by row, a full disk."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import media_files as media
from equimodal.errors import UserError
from equimodal.features import extract
from equimodal.features.media import MediaError, MissingTrackError
from equimodal.settings.features import FramesSettings, SpectrogramSettings
from equimodal.store import array_writer

SOUND = SpectrogramSettings(
    kind="spectrogram", seconds=0.4, n_fft=256, window=256, hop=128, mel_bins=16, noise_snr_db=0.0
)
PICTURES = FramesSettings(kind="frames", n=2, size=(16, 24), margin=2)


def sample(
    name: str, paths: dict[str, str | None], start: float | None = None, end: float | None = None
) -> dict[str, Any]:
    return {"id": name, "label": 0, "group": None, "split": "train", "start": start, "end": end, "paths": paths}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.mp4 with both tracks, b.mp4 silent film, c.wav, d.mp4 broken."""
    root = tmp_path_factory.mktemp("clips")
    media.write_video(root / "a.mp4", audio="aac")
    media.write_video(root / "b.mp4")
    media.write_wave(root / "c.wav", media.tone(0.5))
    (root / "d.mp4").write_bytes(b"broken" * 100)
    return root


SAMPLES = [
    sample("a-0", {"audio": "a.mp4", "visual": "a.mp4"}, 0.0, 0.5),
    sample("a-1", {"audio": "a.mp4", "visual": "a.mp4"}, 0.6, 1.1),
    sample("a-9", {"audio": "a.mp4", "visual": "a.mp4"}, 7.0, 7.5),
    sample("b", {"audio": "b.mp4", "visual": "b.mp4"}),
    sample("c", {"audio": "c.wav", "visual": None}),
    sample("d", {"audio": "d.mp4", "visual": "d.mp4"}),
    sample("e", {"audio": "gone.wav", "visual": "gone.mp4"}),
]


def run(clips: Path, path: Path, settings: Any, modality: str, workers: int) -> extract.Extraction:
    shape = extract.kind_of(settings).shape(settings)
    with array_writer(path, (len(SAMPLES), *shape), extract.kind_of(settings).dtype(settings)) as array:
        return extract.fill(array, SAMPLES, modality, clips, settings, workers)


@pytest.mark.parametrize(("settings", "modality"), [(SOUND, "audio"), (PICTURES, "visual")])
def test_bytes_do_not_depend_on_the_number_of_workers(
    clips: Path, tmp_path: Path, settings: Any, modality: str
) -> None:
    done = [run(clips, tmp_path / f"{workers}.npy", settings, modality, workers) for workers in (1, 3)]
    assert done[0] == done[1]
    assert (tmp_path / "1.npy").read_bytes() == (tmp_path / "3.npy").read_bytes()


def test_rows_are_where_the_index_has_them_and_failures_are_zero(clips: Path, tmp_path: Path) -> None:
    done = run(clips, tmp_path / "visual.npy", PICTURES, "visual", 2)
    array = np.load(tmp_path / "visual.npy")
    assert [media.number_in(array[1, :, step].transpose(1, 2, 0)) for step in range(2)] == [18, 24]
    assert {failure.id: failure.missing for failure in done.failures} == {
        "a-9": False,
        "c": True,
        "d": False,
        "e": False,
    }
    assert [failure.row for failure in done.failures] == [2, 4, 5, 6]
    assert [failure.reason.split(" (")[0] for failure in done.failures] == [
        "no picture between 7.00 and 7.50 s",
        "no visual file",
        "unreadable: Invalid data found when processing input",
        "unreadable: no such file",
    ]
    assert not array[[2, 4, 5, 6]].any()
    assert array[[0, 1, 3]].any(axis=(1, 2, 3, 4)).all()
    assert done.clips == 4


def test_a_lacking_track_is_missing(clips: Path, tmp_path: Path) -> None:
    done = run(clips, tmp_path / "audio.npy", SOUND, "audio", 2)
    assert [(failure.id, failure.reason) for failure in done.failures if failure.missing] == [("b", "no audio track")]


def test_a_clip_of_several_samples_is_decoded_once() -> None:
    jobs, failures = extract.plan(SAMPLES, "visual", Path("/root"), 100)
    assert [(job.path.name, [segment.row for segment in job.segments]) for job in jobs] == [
        ("a.mp4", [0, 1, 2]),
        ("b.mp4", [3]),
        ("d.mp4", [5]),
        ("gone.mp4", [6]),
    ]
    assert [(failure.id, failure.missing) for failure in failures] == [("c", True)]


def test_a_clip_of_very_many_samples_is_read_in_bounded_goes() -> None:
    many = [sample(f"{number:04d}", {"visual": "long.mp4"}, number, number + 1) for number in reversed(range(200))]
    jobs, _ = extract.plan(many, "visual", Path(), 100)
    assert max(len(job.segments) for job in jobs) == extract.ROWS
    assert [segment.start for job in jobs for segment in job.segments] == list(range(200))
    jobs, _ = extract.plan(many, "visual", Path(), extract.BYTES)
    assert max(len(job.segments) for job in jobs) == 1


def test_a_disk_that_fills_up_while_writing_is_one_line(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(extract.os, "pwrite", full)
    work = extract.Work(PICTURES, tmp_path / "a.npy", 0, (3, 2, 18, 26), 2808)
    (tmp_path / "a.npy").touch()
    jobs, _ = extract.plan(SAMPLES[:1], "visual", clips, 2808)
    with (
        pytest.raises(UserError, match=r"no space left while writing .*a\.npy"),
        array_writer(tmp_path / "a.npy", (1,), "uint8"),
    ):
        work(jobs[0])


# What each file of ../shared/data/odd_media is taken for: (sound, picture), each "ok" or the beginning of the reason.
ODD = {
    "-video-with-dash-.mp4": ("no audio track", "ok"),
    "AudioVideoInterleave.avi": ("no audio track", "no picture: the video track holds 0 frames"),
    "Mpeg4.mp4": ("unreadable: the container holds no track", "unreadable: the container holds no track"),
    "bigbuckbunny.mp4": ("ok", "ok"),
    "demo__demo.mp4": ("no audio track", "ok"),
    "demo__demo_skeleton.mp4": ("no audio track", "ok"),
    "media__big_buck_bunny_432_433.webm": ("ok", "ok"),
    "media__doc_medias__result.webm": (
        "unreadable: the file is empty (0 bytes)",
        "unreadable: the file is empty (0 bytes)",
    ),
    "media__no_duration.webm": ("ok", "ok"),
    "media__video_with_failing_audio.mp4": ("ok", "ok"),
    "spec__fixtures__movies__awesome'movie.mov": ("ok", "ok"),
    "spec__fixtures__movies__broken.mp4": ("unreadable: Invalid data", "unreadable: Invalid data"),
    "spec__fixtures__movies__empty.flv": ("unreadable: Invalid data", "unreadable: Invalid data"),
    "test__data__test1-8bit.wav": ("ok", "no video track"),
    "test__data__test1.raw": ("unreadable: no sound or video container", "unreadable: no sound or video container"),
    "test__data__test1_empty.wav": ("no sound: the track holds 0 samples", "no video track"),
    "test__data__wrong_extension.aac": ("ok", "no video track"),
    "test__resources__h264_10bits.mp4": ("no audio track", "ok"),
    "test__resources__nasa_13013.mp4": ("ok", "ok"),
    "tests__test_data__corrupted.mp4": ("no audio track", "ok"),
    "tests__test_data__unordered.mov": ("no audio track", "ok"),
    "tests__test_data__video_90.mov": ("no audio track", "ok"),
    "wav.wav": ("no sound: the track holds 0 samples", "no video track"),
    "webm.webm": ("no audio track", "ok"),
}


def test_every_odd_file_is_decoded_or_refused_with_a_reason(shared: Path) -> None:
    folder = shared / "odd_media"
    assert {path.name for path in folder.iterdir()} - {"MANIFEST.csv"} == set(ODD)
    for name, (sound, picture) in ODD.items():
        for settings, expected in ((SOUND, sound), (PICTURES, picture)):
            (row,) = [
                row
                for _, row in extract.Work(settings, Path(), 0, (), 0)._rows(
                    extract.Job(folder / name, (extract.Segment(0, name, None, None),))
                )
            ]
            if expected == "ok":
                assert isinstance(row, np.ndarray), (name, row)
                assert np.isfinite(row).all()
            else:
                assert isinstance(row, MediaError), name
                assert str(row).startswith(expected), (name, row)
                assert isinstance(row, MissingTrackError) == (expected in ("no audio track", "no video track"))


def test_a_clip_that_is_given_up_fails_every_sample_of_it_with_the_reason() -> None:
    """That the worker of such a clip is ended and the others go on is shown in test_pool."""
    jobs, _ = extract.plan(SAMPLES, "visual", Path("/root"), 100)
    assert extract.LIMIT.seconds(jobs[0]) == 3 * extract.PATIENCE
    _, failures, facts = extract.LIMIT.result(jobs[0])
    assert [(failure.row, failure.id, failure.missing, failure.reason) for failure in failures] == [
        (row, f"a-{number}", False, "stuck: not decoded after 120 s per sample") for row, number in enumerate((0, 1, 9))
    ]
    assert facts == []
