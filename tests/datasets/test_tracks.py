"""Containers are looked into, not decoded: tracks, length, and a reason for what cannot be read."""

import csv
from pathlib import Path

import pytest

from equimodal.datasets.tracks import Tracks, probe


def test_missing_and_empty_files_have_reasons(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no film at all")
    assert probe(str(tmp_path / "gone.mp4")).error == "no such file"
    assert probe(str(tmp_path / "empty.mp4")).error == "empty file"
    reason = probe(str(tmp_path / "text.mp4")).error
    assert reason is not None and reason.startswith("not a readable media file") and str(tmp_path) not in reason


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
