"""Containers are looked into, not decoded: tracks, length, and a reason for what cannot be read."""

import csv
import os
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from equimodal.datasets import tracks
from equimodal.datasets.tracks import Tracks, probe
from equimodal.features.media import MediaError, opened
from media_files import write_video


def test_missing_and_empty_files_have_reasons(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no film at all")
    assert probe(str(tmp_path / "gone.mp4")).error == "no such file"
    assert probe(str(tmp_path / "empty.mp4")).error == "empty file"
    reason = probe(str(tmp_path / "text.mp4")).error
    assert reason is not None and reason.startswith("not a readable media file") and str(tmp_path) not in reason


def test_what_is_no_file_or_a_playlist_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "circle.mp4").symlink_to("circle.mp4")
    (tmp_path / "nothing.mp4").symlink_to("gone.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile 'a.mp4'\n")
    (tmp_path / "web.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\na.ts\n")
    write_video(tmp_path / "a.mp4")
    said = {path.stem: probe(str(path)).error for path in tmp_path.iterdir()}
    playlist = "a playlist, which names other files, not media"
    assert said == {
        "folder": "is a folder, not a file",
        "pipe": "is a pipe (FIFO), not a file",
        "circle": "cannot be read (Too many levels of symbolic links)",
        "nothing": "is a link to nothing",
        "device": "is a device, not a file",
        "list": playlist,
        "web": playlist,
        "a": None,
    }
    for path in tmp_path.iterdir():
        if (reason := said[path.stem]) is not None:
            with pytest.raises(MediaError, match=re.escape(reason)), opened(path):
                pass


def test_an_lfs_pointer_is_called_so(tmp_path: Path) -> None:
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 57702\n"
    for name in ("clip.wav", "clip.flv", "rows.npy"):
        (tmp_path / name).write_text(text)
    said = "a git LFS pointer, not the file itself (run: git lfs pull)"
    assert [probe(str(tmp_path / name)).error for name in ("clip.wav", "clip.flv")] == [said] * 2
    assert tracks.probe_arrays(tmp_path / "rows.npy", None).error == said
    (tmp_path / "clip.wav").write_text(text + "and more")
    assert probe(str(tmp_path / "clip.wav")).error != said


def test_odd_media_are_read_or_refused_as_listed(shared: Path) -> None:
    """Every file of odd_media: its tracks are those that ffprobe found,
    and what ffprobe could not read has a reason.
    """
    folder = shared / "odd_media"
    rows = list(csv.DictReader((folder / "MANIFEST.csv").open(encoding="utf-8")))
    assert len(rows) == 24
    for row in rows:
        found = probe(str(folder / row["file"]))
        if row["fmt"] == "UNREADABLE" or not (row["v"] or row["a"]):
            assert found.error is not None, row["file"]
        else:
            assert found.error is None, (row["file"], found)
            assert (found.video, found.audio) == (bool(row["v"]), bool(row["a"])), row["file"]
            if row["dur"]:
                assert found.seconds == pytest.approx(float(row["dur"]), abs=0.3), row["file"]


def test_a_grid_clip_and_a_cremad_wav(shared: Path) -> None:
    clip = probe(str(next((shared / "grid" / "clips").glob("*.mp4"))))
    assert clip.audio and clip.video and clip.seconds == pytest.approx(3.0, abs=0.1)
    wav = next((shared / "cremad" / "AudioWAV_original_10").glob("*.wav"))
    assert probe(str(wav)) == Tracks(audio=True, video=False, seconds=probe(str(wav)).seconds)


def test_a_wavs_header_says_as_much_as_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its samples are not looked at: with and without that FFmpeg finds the same in whole, cut and odd files."""
    sound = 0.1 * np.random.default_rng(0).standard_normal(48000)
    for subtype in ("PCM_16", "PCM_U8", "FLOAT", "ULAW", "MS_ADPCM", "IMA_ADPCM"):
        soundfile.write(tmp_path / f"{subtype}.wav", sound, 16000, subtype=subtype)
    soundfile.write(tmp_path / "long.wav", np.zeros((400_000, 2)), 44100, format="WAVEX")
    whole = (tmp_path / "PCM_16.wav").read_bytes()
    comment = b"LIST" + (100_000).to_bytes(4, "little") + b"INFOICMT" + (99_988).to_bytes(4, "little") + b"a" * 99_988
    data = whole.index(b"data")
    odd = {
        "cut": whole[:40_000],
        "header": whole[:30],
        "comment-first": whole[:12] + comment + whole[12:],
        "comment-later": whole[:data] + comment + whole[data:],
        "streamed": whole[:4] + b"\xff" * 4 + whole[8 : data + 4] + b"\xff" * 4 + whole[data + 8 :],
        "noise": whole[:12] + np.random.default_rng(0).bytes(50_000),
    }
    for name, content in odd.items():
        (tmp_path / f"{name}.wav").write_bytes(content)
    files = sorted(tmp_path.glob("*.wav"))
    quick = {path.name: probe(str(path)) for path in files}
    monkeypatch.setattr(tracks, "HEADER_ONLY", {})
    assert quick == {path.name: probe(str(path)) for path in files}
    assert quick["comment-first.wav"].seconds == 3.0 and quick["cut.wav"].seconds == pytest.approx(1.25, abs=0.01)
    assert quick["noise.wav"].error is not None and quick["header.wav"].error is not None


def test_only_a_wav_is_judged_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By content, whatever the name: other containers show their tracks later."""
    soundfile.write(tmp_path / "wav.mp3", np.zeros(1600), 16000, format="WAV")
    soundfile.write(tmp_path / "flac.wav", np.zeros(1600), 16000, format="FLAC")
    given, opened = {}, av.open

    def record(path: str, **rest: Any) -> Any:
        given[Path(path).name] = rest["options"]
        return opened(path, **rest)

    monkeypatch.setattr(av, "open", record)
    for name in ("wav.mp3", "flac.wav"):
        assert probe(str(tmp_path / name)).audio
    assert given == {"wav.mp3": tracks.HEADER_ONLY, "flac.wav": {}}
