"""Tables whose modalities are arrays: columns, stacked files, mixtures with media,
and the line that each mistake gets.
"""

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from array_files import padded, ragged, write_parquet
from equimodal.datasets.base import Listing
from equimodal.engines import declarations
from equimodal.errors import UserError
from equimodal.params import parse_params
from equimodal.stages import features, index, manifest, raw
from small_datasets import MODALITIES, kind_of, params_of

COUNT = 24
TEXT = {"kind": "sequence", "file": "text.npy", "lengths": "lengths.npy", "length": 5, "width": 3}
AUDIO = {"kind": "vector", "column": "sound", "width": 4}
BASE: dict[str, Any] = {
    "kind": "table",
    "root": "arrays",
    "table": "rows.csv",
    "columns": {"path": None, "split": "part"},
    "split": {"rule": "column"},
    "modalities": {"text": TEXT, "audio": AUDIO},
}
LENGTHS = [1 + row % 6 for row in range(COUNT)]


@pytest.fixture
def arrays(project: Path) -> Path:
    """A table of arrays: text stacked in one padded file, a vector of sound a file."""
    folder = project / "arrays"
    folder.mkdir()
    np.save(folder / "text.npy", padded(ragged(LENGTHS, 3), 6))
    np.save(folder / "lengths.npy", np.array(LENGTHS))
    for row in range(COUNT):
        np.save(folder / f"{row}.npy", np.full(4, row, np.float32))
    write_rows(folder)
    return folder


def write_rows(folder: Path, count: int = COUNT, **columns: list[str]) -> None:
    lines = ["label,part,sound" + "".join(f",{name}" for name in columns)]
    for row in range(count):
        part = ("train", "train", "val", "test")[row // 2 % 4]
        lines.append(f"{'xy'[row % 2]},{part},{row}.npy" + "".join(f",{values[row]}" for values in columns.values()))
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")


def build(**changes: Any) -> dict[str, Any]:
    params = params_of(BASE, **changes)
    raw.run(params, "d")
    index.run(params, "d")
    for modality in params.dataset("d").modalities:
        features.run(params, "d", modality)
    manifest.run(params, "d")
    return json.loads(Path("data/d/manifest.json").read_text())


def read(**changes: Any) -> Listing:
    kind = kind_of(params_of(BASE, **changes), "d")
    return kind.listing(kind.acquire(Path("unused")))


def test_from_files_to_a_manifest_with_lengths(arrays: Path) -> None:
    found = build()
    assert found["ids"][:2] == ["00", "01"] and len(found["ids"]) == COUNT
    assert found["modalities"]["text"]["lengths"] == [min(length, 5) for length in LENGTHS]
    assert "lengths" not in found["modalities"]["audio"] and found["modalities"]["audio"]["shape"] == [4]
    assert found["modalities"]["text"]["notes"] == {
        "cut_samples": 4,
        "cut_steps": 4,
        "nonfinite_samples": 0,
        "nonfinite_values": 0,
    }
    np.testing.assert_array_equal(np.load("data/d/features/text.npy"), padded(ragged(LENGTHS, 3), 6)[:, :5])
    np.testing.assert_array_equal(np.load("data/d/features/audio.npy")[:, 0], np.arange(COUNT))
    train = [row for row, split in enumerate(found["splits"]) if split == "train"]
    steps = np.concatenate([ragged(LENGTHS, 3)[row][:5] for row in train])
    assert found["modalities"]["text"]["mean"] == pytest.approx(steps.mean(0).tolist(), abs=1e-6)
    facts = json.loads(Path("data/d/raw/manifest.json").read_text())["files"]
    assert facts["text.npy"]["sha256"] and facts["lengths.npy"]["sha256"] and facts["3.npy"]["sha256"] is None


def test_ids_from_a_column_and_rows_named_in_a_column(arrays: Path) -> None:
    write_rows(
        arrays,
        name=[f"clip{row}" for row in range(COUNT)],
        words=[f"text.npy#{row}:{LENGTHS[row]}" for row in range(COUNT)],
    )
    text = {"kind": "sequence", "column": "words", "file": None, "lengths": None, "length": 5, "width": 3}
    found = read(columns={"id": "name"}, modalities={"text": text})
    assert (found.samples[3].id, dict(found.samples[3].paths)) == ("clip3", {"text": "text.npy#3:4", "audio": "3.npy"})


def test_stacked_parquet_and_npz(arrays: Path) -> None:
    write_parquet(
        arrays / "all.parquet",
        {"text": [values.tolist() for values in ragged(LENGTHS, 3)], "sound": np.ones((COUNT, 4)).tolist()},
        group=5,
    )
    np.savez(arrays / "all.npz", sound=np.ones((COUNT, 4)), other=np.ones(2))
    text = {"file": "all.parquet", "key": "text", "lengths": None}
    found = build(modalities={"text": text, "audio": {"column": None, "file": "all.npz", "key": "sound"}})
    assert found["modalities"]["text"]["lengths"] == [min(length, 5) for length in LENGTHS]
    np.testing.assert_allclose(np.load("data/d/features/text.npy"), padded(ragged(LENGTHS, 3), 6)[:, :5])
    assert np.load("data/d/features/audio.npy").min() == 1


def test_media_and_arrays_mix(arrays: Path) -> None:
    from equimodal.datasets.synthesis.encode import write_wav

    for row in range(COUNT):
        write_wav(arrays / f"{row}.wav", np.sin(np.arange(4000) * 0.1), 8000)
    write_rows(arrays, path=[f"{row}.wav" for row in range(COUNT)])
    found = build(columns={"path": "path"}, modalities={"sound": MODALITIES["audio"]})
    assert found["ids"][:3] == ["0", "1", "10"] and set(found["modalities"]) == {"text", "audio", "sound"}
    rows = {name: row for row, name in enumerate(found["ids"])}
    assert (
        np.load("data/d/features/audio.npy")[rows["10"], 0] == 10
        and found["modalities"]["text"]["lengths"][rows["10"]] == 5
    )


def test_a_missing_array_is_rejected_or_filled_with_zeros(arrays: Path) -> None:
    text = (arrays / "rows.csv").read_text().replace(",5.npy", ",")
    (arrays / "rows.csv").write_text(text)
    with pytest.raises(UserError, match=r"1 of 24 samples are rejected.*05: audio: no audio file"):
        build()
    found = build(missing="zero")
    assert found["zero_filled"] == {"text": 0, "audio": 1} and len(found["ids"]) == COUNT


def test_a_broken_array_is_rejected_with_its_reason_by_the_index(arrays: Path) -> None:
    (arrays / "5.npy").write_bytes(b"no array")
    found = build(max_rejected=0.1)
    assert [(entry["id"], entry["modality"]) for entry in found["rejected"]] == [("05", "audio")]
    assert found["rejected"][0]["reason"].startswith("unreadable")


def test_a_vector_of_another_width_names_the_right_one(arrays: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"audio of no training sample could be read.*has shape \[4\], a vector of width: 7 was expected"
        r" \(set width: 4\)",
    ):
        build(modalities={"audio": {"width": 7}})
    np.save(arrays / "5.npy", np.ones(9))
    assert build(max_rejected=0.1)["rejected"] == [
        {"id": "05", "modality": "audio", "reason": "has shape [9], a vector of width: 4 was expected (set width: 9)"}
    ]


def change(folder: Path, what: str) -> None:
    if what == "fewer rows":
        np.save(folder / "text.npy", np.zeros((COUNT - 1, 6, 3)))
    elif what == "fewer lengths":
        np.save(folder / "lengths.npy", np.array(LENGTHS[:-1]))
    elif what == "long lengths":
        np.save(folder / "lengths.npy", np.array([*LENGTHS[:-1], 9]))
    elif what == "half lengths":
        np.save(folder / "lengths.npy", np.array(LENGTHS) / 2)
    elif what == "no lengths":
        (folder / "lengths.npy").unlink()
    elif what == "flat":
        np.save(folder / "text.npy", np.zeros((COUNT, 3)))
    elif what == "wide":
        np.save(folder / "text.npy", np.zeros((COUNT, 6, 9)))
    elif what == "lost":
        (folder / "7.npy").unlink()
    elif what == "no array":
        (folder / "text.npy").write_bytes(b"no array")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (
            "fewer rows",
            r"rows disagree: arrays/rows.csv has 24, but text 23 \(text.npy\): a file needs one row per sample",
        ),
        (
            "fewer lengths",
            r"lengths.npy \(datasets.d.modalities.text.lengths\) is int64 \[23\]: whole numbers \[24\] are needed",
        ),
        ("long lengths", r"row 23 says 9 steps, but text.npy has 6 per row"),
        ("half lengths", r"is float64 \[24\]: whole numbers"),
        ("no lengths", r"lengths.npy does not exist: set it in `modalities`"),
        ("flat", r"text.npy has shape \[24, 3\], which is not one sequence per row: set kind: vector"),
        ("wide", r"text.npy has shape \[24, 6, 9\], but width is 3: set width: 9"),
        ("lost", r"7.npy does not exist: mend arrays/rows.csv, line 9"),
        ("no array", r"text.npy \(datasets.d.modalities.text\): unreadable"),
    ],
)
def test_each_mistake_in_the_files_gets_its_line(arrays: Path, what: str, words: str) -> None:
    change(arrays, what)
    with pytest.raises(UserError, match=words) as caught:
        read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"modalities": {"text": {"column": "sound"}}},
            r"modality text is a sequence: give column .* or file .*not both",
        ),
        ({"modalities": {"text": {"file": None}}}, r"give column"),
        (
            {"modalities": {"audio": {"column": "voice"}}},
            r"no column 'voice' \(datasets.d.modalities.audio.column\); it has: label, part, sound",
        ),
        ({"columns": {"id": "label"}}, r"lines 2 and 4 have the same label 'x': ids must be unique"),
        ({"modalities": {"visual": MODALITIES["visual"]}}, r"columns.path names no column for visual, to be read from"),
        ({"columns": {"path": {"text": "file"}}}, r"names a column for text, but .* read from media are none"),
        ({"modalities": {"text": {"width": None}}}, r"width"),
    ],
)
def test_each_mistake_in_the_settings_gets_its_line(arrays: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(**changes)


def test_media_datasets_refuse_arrays(project: Path) -> None:
    from small_datasets import CREMAD

    with pytest.raises(UserError, match=r"modality audio is a vector, but kind cremad reads media: use kind: table"):
        params_of({**CREMAD, "modalities": {"audio": {"kind": "vector", "width": 4}}})


def test_where_arrays_lie_sets_raw_and_index_and_nothing_changes_for_media() -> None:
    from small_datasets import TABLE

    assert "arrays" not in declarations.settings(params_of(TABLE), "raw", "d")
    assert "id" not in declarations.settings(params_of(TABLE), "raw", "d")["columns"]
    for stage in ("raw", "index"):
        assert declarations.settings(params_of(BASE), stage, "d")["arrays"] == {
            "text": {"file": "text.npy", "lengths": "lengths.npy"},
            "audio": {"column": "sound"},
        }


def test_the_example_in_the_docs_runs(project: Path, root: Path) -> None:
    text = (root / "docs/datasets/table.md").read_text()
    code, rest = text.split("```python\n")[1].split("```\n", 1)
    exec(code, {})
    block = rest.split("With that as params.yaml")[0]
    params = parse_params(yaml.safe_load(textwrap.dedent(block)))
    for stage in (raw, index):
        stage.run(params, "mine")
    for modality in ("words", "face"):
        features.run(params, "mine", modality)
    manifest.run(params, "mine")
    found = json.loads(Path("data/mine/manifest.json").read_text())
    assert found["ids"][:2] == ["s0", "s1"] and found["classes"] == ["a", "b"]
    assert set(found["modalities"]["words"]["lengths"]) == set(range(4, 13)) and len(found["labels"]) == 240
