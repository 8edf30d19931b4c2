"""Stage index: samples with label, group and split; broken containers and missing tracks with their reasons."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equimodal.datasets.synthesis.encode import write_clip, write_wav
from equimodal.datasets.synthesis.face import FPS
from equimodal.errors import UserError
from equimodal.params import Params, load_params
from equimodal.stages import index, raw
from equimodal.store import read_json
from small_datasets import CREMAD, TABLE, params_of


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, the current one during the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(params: Params, dataset: str = "d") -> dict[str, Any]:
    raw.run(params, dataset=dataset)
    index.run(params, dataset=dataset)
    return read_json(Path("data") / dataset / "index.json")


def clips(folder: Path, number: int) -> list[str]:
    """Clips of half a second with sound and picture, in two classes; returns the rows of a table."""
    generator = np.random.default_rng(0)
    rows = []
    for place in range(number):
        frames = generator.integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
        write_clip(
            folder / f"{place:02d}.flv",
            frames,
            FPS,
            0.1 * generator.standard_normal(11025),
            22050,
            ("flv", "libmp3lame"),
        )
        rows.append(f"{place:02d}.flv,{'xy'[place % 2]}")
    return rows


def table(folder: Path, rows: list[str], header: str = "path,label") -> None:
    (folder / "rows.csv").write_text("\n".join([header, *rows]) + "\n")


BY_CLASS = {"rule": "stratified", "folds": 4, "validation": 0.25, "validation_by": "stratified"}


def test_the_sample_becomes_an_index(project: Path) -> None:
    found = build(params_of(CREMAD))
    assert (found["kind"], found["source"], found["root"], found["rejected"]) == ("cremad", "sample", "data/d/raw", [])
    assert found["classes"] == ["NEU", "HAP", "SAD", "FEA", "DIS", "ANG"]
    assert len(found["samples"]) == 24 and [s["id"] for s in found["samples"]] == sorted(
        s["id"] for s in found["samples"]
    )
    for sample in found["samples"]:
        actor, _, emotion, _ = sample["id"].split("_")
        assert (sample["group"], found["classes"][sample["label"]], sample["start"], sample["end"]) == (
            actor,
            emotion,
            None,
            None,
        )
        assert all((project / found["root"] / path).is_file() for path in sample["paths"].values())
    counts = {split: sum(row.values()) for split, row in found["split"]["counts"].items()}
    assert counts == {"train": 12, "val": 6, "test": 6} and found["split"]["rule"] == "actor"


def test_small_splits_are_warned_of_where_they_are_made(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(params_of(CREMAD))
    err = capsys.readouterr().err
    assert "warning: d: validation has 6 samples (under 30)" in err and "warning: d: test has 6 samples" in err
    assert "validation has fewer than 2 samples of 6 of 6 classes (NEU 1, HAP 1, SAD 1 and 3 more)" in err


def test_the_index_is_the_same_bytes_each_time(project: Path) -> None:
    build(params_of(CREMAD))
    before = (project / "data/d/index.json").read_bytes()
    index.run(params_of(CREMAD), dataset="d")
    assert (project / "data/d/index.json").read_bytes() == before


def test_broken_and_trackless_files_have_reasons_and_do_not_move_the_others(project: Path) -> None:
    rows = clips(project / "media", 24)
    (project / "media/00.flv").write_bytes(b"")
    (project / "media/01.flv").write_bytes(b"no film")
    write_wav(project / "media/02.wav", np.zeros(8000), 16000)
    rows[2] = "02.wav,x"
    table(project / "media", rows)
    found = build(params_of(TABLE, split=BY_CLASS, max_rejected=0.2))
    reasons = {(entry["id"], entry["modality"]): entry["reason"] for entry in found["rejected"]}
    assert reasons[("00", "audio")] == reasons[("00", "visual")] == "empty file"
    assert reasons[("01", "audio")].startswith("not a readable media file")
    assert reasons[("02", "visual")] == "no video track" and ("02", "audio") not in reasons
    assert len(found["samples"]) == 21
    splits = {sample["id"]: sample["split"] for sample in found["samples"]}
    shutil.rmtree(project / "media")
    table_rows = clips(project / "media", 24)
    table(project / "media", table_rows)
    whole = {sample["id"]: sample["split"] for sample in build(params_of(TABLE, split=BY_CLASS))["samples"]}
    assert splits.items() <= whole.items()


def test_missing_zero_keeps_a_sample_that_has_the_other_track(project: Path) -> None:
    rows = clips(project / "media", 24)
    write_wav(project / "media/02.wav", np.zeros(8000), 16000)
    rows[2] = "02.wav,x"
    (project / "media/00.flv").write_bytes(b"")
    table(project / "media", rows)
    found = build(params_of(TABLE, split=BY_CLASS, missing="zero", max_rejected=0.1))
    assert {entry["id"] for entry in found["rejected"]} == {"00"}
    assert found["samples"][1]["id"] == "02" and found["samples"][1]["paths"]["visual"] == "02.wav"


def test_too_many_rejected_stop_the_stage(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = clips(project / "media", 24)
    (project / "media/00.flv").write_bytes(b"")
    table(project / "media", rows)
    with pytest.raises(
        UserError,
        match=r"1 of 24 samples are rejected, more than datasets.d.max_rejected = 0.01 \(first: 00: 00\.flv: empty",
    ):
        build(params_of(TABLE, split=BY_CLASS))
    assert capsys.readouterr().err.count("00.flv") == 1  # once, though two modalities are read from it
    assert not (project / "data/d/index.json").exists()


def test_a_broken_file_is_named_once_whatever_is_read_from_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [row.partition(",")[0] for row in clips(project / "media", 6)]
    (project / "media/00.flv").write_bytes(b"")
    rows = [f"{name},{'xy'[part % 2]},{part / 100:g}" for name in names for part in range(8)]
    table(project / "media", rows, "path,label,s")
    found = build(params_of(TABLE, columns={"start": "s"}, split=BY_CLASS, max_rejected=0.2))
    assert len(found["rejected"]) == 16  # an entry for each sample and modality
    assert [line for line in capsys.readouterr().err.splitlines() if "rejected" in line] == [
        "d: rejected 8 samples (00@0, 00@0.01, 00@0.02 and 5 more): 00.flv: empty file"
    ]


def test_segments_keep_their_times_and_one_beyond_the_clip_is_rejected(project: Path) -> None:
    rows = [f"{row},0.1,0.3" for row in clips(project / "media", 24)]
    rows[4] = "04.flv,x,7.5,8"
    table(project / "media", rows, "path,label,s,e")
    found = build(params_of(TABLE, columns={"start": "s", "end": "e"}, split=BY_CLASS, max_rejected=0.1))
    assert {(sample["start"], sample["end"]) for sample in found["samples"]} == {(0.1, 0.3)}
    assert [(entry["id"], entry["reason"][:15]) for entry in found["rejected"]] == [("04", "starts at 7.5 s")] * 2


def test_a_clip_is_looked_into_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[tuple[str, tuple[str, ...]]] = []
    run = index.pool.run
    monkeypatch.setattr(index.pool, "run", lambda work, given, *rest: (jobs.extend(given), run(work, given, *rest))[1])
    names = [row.partition(",")[0] for row in clips(project / "media", 6)]
    table(
        project / "media",
        [f"{name},{'xy'[part % 2]},{part / 100:g}" for name in names for part in range(8)],
        "path,label,s",
    )
    found = build(params_of(TABLE, columns={"start": "s"}, split=BY_CLASS))
    assert len(found["samples"]) == 48 and jobs == [("media", (name,)) for name in names]


def test_a_class_that_is_lost_by_rejection_is_named(project: Path) -> None:
    rows = clips(project / "media", 24)
    table(project / "media", [*rows, "24.flv,z"])
    shutil.copy(project / "media/00.flv", project / "media/24.flv")
    with pytest.raises(UserError, match=r"class z in split"):
        build(params_of(TABLE, split=BY_CLASS))


def test_dropped_classes_are_recorded_and_the_others_numbered_anew(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of CREMA-D: no clip of NEU; of HAP a test clip only, the others being pointers; chosen are all but ANG."""
    raw.run(params_of(CREMAD), dataset="d")
    shutil.copytree(project / "data/d/raw", project / "copy")
    tested = {s["group"] for s in build(params_of(CREMAD))["samples"] if s["split"] == "test"}
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 57702\n"
    for path in [*(project / "copy").rglob("*.wav"), *(project / "copy").rglob("*.flv")]:
        if "_NEU_" in path.name:
            path.unlink()
        elif "_HAP_" in path.name and path.name[:4] not in tested:
            path.write_text(pointer)
    own = {"source": "local", "raw": "copy", "max_rejected": 0.3, "classes": ["NEU", "HAP", "SAD", "FEA", "DIS"]}
    with pytest.raises(UserError, match=r"1 of 5 classes have no clip in copy \(NEU\)"):
        build(params_of(CREMAD, **own))
    with pytest.raises(
        UserError, match=r"no sample of class HAP in split 'train'.*, or set datasets\.d\.missing_classes: drop"
    ):
        build(params_of(CREMAD, **{**own, "classes": ["HAP", "SAD", "FEA", "DIS"]}))
    found = build(params_of(CREMAD, **own, missing_classes="drop"))
    assert found["classes"] == ["SAD", "FEA", "DIS"] and {s["label"] for s in found["samples"]} == {0, 1, 2}
    assert all(found["classes"][s["label"]] == s["id"].split("_")[2] for s in found["samples"])
    assert found["dropped_classes"] == {
        "ANG": "not among the setting classes",
        "HAP": "no usable clip in split 'train' (missing_classes: drop)",
        "NEU": "no clip in the copy (missing_classes: drop)",
    }
    assert {e["reason"] for e in found["rejected"]} == {"a git LFS pointer, not the file itself (run: git lfs pull)"}
    err = capsys.readouterr().err
    assert "d: 3 of 6 classes used (1 not among the setting classes, 1 no clip in the copy" in err
    assert "dropped_classes" not in build(params_of(CREMAD))


def test_two_usable_classes_must_be_left(project: Path) -> None:
    raw.run(params_of(CREMAD), dataset="d")
    shutil.copytree(project / "data/d/raw", project / "copy")
    for path in [*(project / "copy").rglob("*.wav")]:
        if "_ANG_" not in path.name:
            path.write_bytes(b"")
    with pytest.raises(UserError, match=r"1 classes have usable clips in every split, at least two .*NEU: no usable"):
        build(params_of(CREMAD, source="local", raw="copy", max_rejected=1, missing_classes="drop"))


def test_index_without_raw_says_what_to_build() -> None:
    with pytest.raises(UserError, match=r"data/d/raw/manifest.json is missing: build it first"):
        index.run(params_of(CREMAD), dataset="d")


def test_the_silent_clip_is_a_clip_like_any_other(project: Path) -> None:
    """1076_MTI_SAD_XX of CREMA-D is all zeros: it has a track, so it stays."""
    build(params_of(CREMAD))
    shutil.copytree(project / "data/d/raw", project / "copy")
    frames = np.zeros((8, 32, 32, 3), np.uint8)
    write_wav(project / "copy/AudioWAV/1076_MTI_SAD_XX.wav", np.zeros(8000), 16000)
    write_clip(
        project / "copy/VideoFlash/1076_MTI_SAD_XX.flv", frames, FPS, np.zeros(11025), 22050, ("flv", "libmp3lame")
    )
    found = build(params_of(CREMAD, source="local", raw="copy"))
    assert found["rejected"] == [] and "1076_MTI_SAD_XX" in {sample["id"] for sample in found["samples"]}
    assert found["source"] == "local" and found["root"] == "copy"


def test_the_published_split_needs_the_published_clips(project: Path) -> None:
    (project / "lists").mkdir()
    (project / "lists/train.csv").write_text("1001_DFA_ANG_XX,ANG\n")
    (project / "lists/test.csv").write_text("1002_DFA_ANG_XX,ANG\n")
    with pytest.raises(UserError, match=r"in the lists but not among the files .*complete the copy"):
        build(params_of(CREMAD, split={"rule": "ogm", "lists": "lists"}))


@pytest.mark.parametrize(("dataset", "samples", "classes"), [("grid-words", 6000, 51), ("grid-digit", 1000, 10)])
def test_the_grid_tables_of_params_yaml_run_as_they_are(
    project: Path, root: Path, shared: Path, dataset: str, samples: int, classes: int
) -> None:
    if not (project.parent / "shared").exists():
        (project.parent / "shared").symlink_to(shared.parent)  # params.yaml says ../shared
    found = build(load_params(root / "params.yaml"), dataset)
    assert (len(found["samples"]), len(found["classes"]), found["rejected"]) == (samples, classes, [])
    assert len({sample["id"] for sample in found["samples"]}) == samples
    assert all(sample["start"] < sample["end"] for sample in found["samples"] if sample["start"] is not None)
