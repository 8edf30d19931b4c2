"""Modalities and sizes that a table's own files ask for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equimodal.datasets.table.proposal import Proposal, propose
from equimodal.datasets.table.sheet import Sheet
from equimodal.errors import UserError
from media_files import tone, write_video, write_wave


def table(folder: Path, header: str, lines: list[str]) -> Sheet:
    (folder / "rows.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    return Sheet.read(folder / "rows.csv")


def proposed(
    folder: Path, names: list[str], arrays: Mapping[str, str] | None = None, gpu: bool = False, copies: int = 1
) -> Proposal:
    """The entry for clips with two classes, each named in so many rows."""
    lines = [f"{name},{'ab'[number % 2]}" for number, name in enumerate(names * copies)]
    return propose(table(folder, "file,label", lines), folder, {}, arrays or {}, gpu)


def test_sound_and_picture_of_clips(tmp_path: Path) -> None:
    names = [write_video(tmp_path / f"{i}.mp4", audio="aac", seconds=1.6).name for i in range(2)]
    entry = proposed(tmp_path, names, copies=20).entry
    assert entry["modalities"] == {
        "audio": {
            "kind": "spectrogram",
            "sample_rate": 16000,
            "seconds": pytest.approx(1.7, abs=0.11),
            "n_fft": 512,
            "hop": 320,
            "window": 400,
            "mel_bins": 64,
        },
        "visual": {"kind": "frames", "n": 3, "size": [48, 72], "margin": 4, "channels": 3},
    }
    assert entry["model"]["width"] == 8
    assert entry["training"]["epochs"] == 100 and entry["training"]["batch_size"] == 32
    assert entry["methods"] == {"aim": {"start_epoch": 25}}


def test_with_a_gpu_pictures_are_never_larger_than_they_are_and_the_network_is_the_shipped_one(tmp_path: Path) -> None:
    entry = proposed(tmp_path, [write_video(tmp_path / f"{i}.mp4").name for i in range(2)], gpu=True).entry
    assert entry["modalities"]["visual"]["size"] == [64, 96]  # as the clips
    assert "model" not in entry and entry["training"]["optimizer"] == {"lr": 0.01}


def test_sound_alone_of_a_low_rate_and_a_long_clip(tmp_path: Path) -> None:
    names = [write_wave(tmp_path / f"{i}.wav", tone(14.0, 8000), 8000).name for i in range(2)]
    found = proposed(tmp_path, names)
    audio = found.entry["modalities"]["audio"]
    assert list(found.entry["modalities"]) == ["audio"] and any("only one modality" in note for note in found.notes)
    assert audio["sample_rate"] == 8000 and audio["seconds"] == 10.0  # at most
    assert audio["seconds"] * 8000 / audio["hop"] <= 150 and audio["hop"] <= audio["window"] <= audio["n_fft"]


def test_the_length_is_that_of_the_parts_where_the_table_has_parts(tmp_path: Path) -> None:
    write_wave(tmp_path / "a.wav", tone(5.0))
    write_wave(tmp_path / "b.wav", tone(5.0))
    lines = [f"{'ab'[i % 2]}.wav,{'xy'[i // 2 % 2]},{i / 10},{i / 10 + 0.35}" for i in range(40)]
    found = propose(table(tmp_path, "file,label,start,end", lines), tmp_path, {}, {}, False)
    assert found.entry["modalities"]["audio"]["seconds"] == 0.4


def test_broken_files_and_missing_tracks_are_noted(tmp_path: Path) -> None:
    (tmp_path / "0.mp4").write_bytes(b"no media")
    write_video(tmp_path / "1.mp4", audio="aac")
    write_video(tmp_path / "2.mp4")
    found = proposed(tmp_path, ["0.mp4", "1.mp4", "2.mp4"])
    assert list(found.entry["modalities"]) == ["audio", "visual"]
    assert any(note.startswith("0.mp4: not a readable media file") for note in found.notes)
    assert any("1 of 2 files looked at have no sound (2.mp4)" in note for note in found.notes)
    with pytest.raises(UserError, match=r"none of the 1 files looked at can be read; 0.mp4: not a readable"):
        proposed(tmp_path, ["0.mp4", "0.mp4"])


def test_arrays_of_a_column_and_of_a_file(tmp_path: Path) -> None:
    for number in range(4):
        np.save(tmp_path / f"t{number}.npy", np.ones((3 + number, 5), np.float32))
    np.save(tmp_path / "all.npy", np.ones((4, 7)))
    np.savez(tmp_path / "two.npz", a=np.ones((4, 6, 2)), b=np.ones(3))
    lines = [f"t{number}.npy,{'ab'[number % 2]}" for number in range(4)]
    sheet = table(tmp_path, "Text emb,label", lines)
    entry = propose(sheet, tmp_path, {}, {"face": "all.npy", "hand": "two.npz#a"}, False).entry
    assert entry["modalities"] == {
        "text-emb": {"kind": "sequence", "column": "Text emb", "length": 6, "width": 5},
        "face": {"kind": "vector", "file": "all.npy", "width": 7},
        "hand": {"kind": "sequence", "file": "two.npz", "key": "a", "length": 6, "width": 2},
    }
    assert (
        "model" not in entry and entry["training"]["optimizer"] == {"lr": 0.02} and "augment" not in entry["training"]
    )


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones((5, 7)), "all.npy has 5 rows, .* has 4"),
        (np.ones((4, 2, 3, 5)), r"all.npy holds arrays \[2, 3, 5\]: vectors \[width\] or sequences"),
        (np.ones((4, 0)), r"all.npy holds arrays \[0\]"),
        (np.array([{}] * 4, dtype=object), "all.npy: "),
    ],
)
def test_arrays_of_odd_shapes_are_refused(tmp_path: Path, array: Any, said: str) -> None:
    np.save(tmp_path / "all.npy", array, allow_pickle=True)
    sheet = table(tmp_path, "label,n", [f"{'ab'[number % 2]},{number}" for number in range(4)])
    with pytest.raises(UserError, match=said):
        propose(sheet, tmp_path, {}, {"face": "all.npy"}, False)


def test_many_rows_have_larger_batches_and_fewer_epochs(tmp_path: Path) -> None:
    write_wave(tmp_path / "a.wav", tone(0.5))
    write_wave(tmp_path / "b.wav", tone(0.5))
    few = proposed(tmp_path, ["a.wav", "b.wav"], copies=400).entry["training"]
    many = proposed(tmp_path, ["a.wav", "b.wav"], copies=5000).entry["training"]
    assert (few["batch_size"], many["batch_size"]) == (32, 64) and few["epochs"] > many["epochs"] >= 10


def test_sound_and_picture_in_files_of_their_own(tmp_path: Path) -> None:
    for number in range(4):
        write_video(tmp_path / f"{number}.mp4", audio="aac")  # its own sound gives way to the recording's
        write_wave(tmp_path / f"{number}.wav", tone(1.0))
    lines = [f"{number}.mp4,{number}.wav,{'ab'[number % 2]}" for number in range(4)]
    found = propose(table(tmp_path, "video,recording,label", lines), tmp_path, {}, {}, False)
    assert found.entry["columns"] == {"path": {"audio": "recording", "visual": "video"}, "label": "label"}
    assert [feature["kind"] for feature in found.entry["modalities"].values()] == ["spectrogram", "frames"]
    assert not any("have no" in note for note in found.notes)


def test_two_pictures_are_named_by_their_columns(tmp_path: Path) -> None:
    for name in ("0f", "0s", "1f", "1s"):
        write_video(tmp_path / f"{name}.mp4")
    lines = ["0f.mp4,0s.mp4,a", "1f.mp4,,b"]
    found = propose(table(tmp_path, "Front,Side View,label", lines), tmp_path, {}, {}, False)
    assert found.entry["columns"]["path"] == {"front": "Front", "side-view": "Side View"}
    assert any("column 'Side View' is empty in 1 of 2 rows" in note for note in found.notes)


def test_a_column_of_arrays_never_takes_the_name_of_another_modality(tmp_path: Path) -> None:
    for number in range(2):
        write_wave(tmp_path / f"{number}.wav", tone(1.0))
        np.save(tmp_path / f"{number}.npy", np.zeros(3, np.float32))
    sheet = table(tmp_path, "file,audio,label", ["0.wav,0.npy,a", "1.wav,1.npy,b"])
    modalities = propose(sheet, tmp_path, {}, {}, False).entry["modalities"]
    assert {name: feature["kind"] for name, feature in modalities.items()} == {
        "audio": "spectrogram",
        "audio-2": "vector",
    }
    with pytest.raises(UserError, match="there is a modality audio already"):
        propose(sheet, tmp_path, {}, {"audio": "0.npy"}, False)
