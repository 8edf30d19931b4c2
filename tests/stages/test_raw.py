"""Stage raw: the manifest of the raw files, replaced as a whole or not at all."""

from pathlib import Path

import pytest

from equimodal.errors import UserError
from equimodal.stages import raw
from equimodal.store import file_sha256, read_json
from small_datasets import CREMAD, TABLE, params_of

SMALL = {"sample": {"actors": 2, "clips_per_actor": 6}}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, the current one during the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_sample_is_written_with_sizes_and_checksums(project: Path) -> None:
    raw.run(params_of(CREMAD, **SMALL), dataset="d")
    manifest = read_json(project / "data/d/raw/manifest.json")
    assert (manifest["dataset"], manifest["source"], manifest["root"]) == ("d", "sample", "data/d/raw")
    media = sorted(
        path.relative_to("data/d/raw").as_posix()
        for path in Path("data/d/raw").rglob("*.*")
        if path.name != "manifest.json"
    )
    assert sorted(manifest["files"]) == media and len(media) == 24
    for name, fact in manifest["files"].items():
        path = project / manifest["root"] / name
        assert fact == {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def test_the_same_settings_give_the_same_bytes_with_any_number_of_workers(project: Path) -> None:
    contents = []
    for workers in (1, 2):
        params = params_of(CREMAD, **SMALL)
        params = params.model_copy(update={"runtime": params.runtime.model_copy(update={"workers": workers})})
        raw.run(params, dataset="d")
        contents.append({path.name: path.read_bytes() for path in Path("data/d/raw").rglob("*.*")})
    assert contents[0] == contents[1]


def test_a_smaller_sample_leaves_nothing_of_the_larger_one(project: Path) -> None:
    raw.run(params_of(CREMAD, sample={"actors": 3, "clips_per_actor": 8}), dataset="d")
    raw.run(params_of(CREMAD, **SMALL), dataset="d")
    manifest = read_json(project / "data/d/raw/manifest.json")
    assert len(list(Path("data/d/raw").rglob("*.wav"))) == 12 and len(manifest["files"]) == 24
    assert [path.name for path in Path("data/d").iterdir()] == ["raw"]


def test_a_failure_leaves_what_was_there(project: Path) -> None:
    raw.run(params_of(CREMAD, **SMALL), dataset="d")
    before = (project / "data/d/raw/manifest.json").read_bytes()
    with pytest.raises(UserError, match="is missing: get CREMA-D"):
        raw.run(params_of(CREMAD, source="local", raw="nowhere"), dataset="d")
    assert (project / "data/d/raw/manifest.json").read_bytes() == before
    assert len(list(Path("data/d/raw").rglob("*.wav"))) == 12


def test_a_tables_files_are_listed_by_size_and_the_table_by_checksum(project: Path) -> None:
    (project / "media").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (project / "media" / name).write_bytes(b"12345")
    (project / "media/rows.csv").write_text("path,label\na.mp4,x\nb.mp4,y\n")
    raw.run(params_of(TABLE), dataset="d")
    manifest = read_json(project / "data/d/raw/manifest.json")
    assert manifest["root"] == "media" and manifest["source"] == "local"
    assert manifest["files"]["a.mp4"] == {"bytes": 5, "sha256": None}
    assert manifest["files"]["rows.csv"]["sha256"] == file_sha256(project / "media/rows.csv")


def test_an_unknown_dataset_is_named() -> None:
    with pytest.raises(UserError, match="unknown dataset 'e'"):
        raw.run(params_of(CREMAD), dataset="e")
