"""Own data from a CSV to a training: the entry that is written works, and a refusal writes nothing."""

import shutil
from pathlib import Path

import pytest

from equimodal.errors import UserError
from equimodal.params import load_params
from equimodal.stages import add_dataset, features, index, manifest, raw
from equimodal.store import read_json
from media_files import tone, write_video, write_wave


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped params.yaml, the current one, and 24 clips of two speakers."""
    shutil.copy(root / "params.yaml", tmp_path)
    clips = tmp_path / "clips"
    clips.mkdir()
    write_video(clips / "0.mp4", frames=20, audio="aac")
    lines = ["take,mood,speaker"]
    for number in range(24):
        if number:
            shutil.copy(clips / "0.mp4", clips / f"{number}.mp4")
        lines.append(f"{number}.mp4,{'ab'[number % 2]},p{number // 4}")
    (clips / "list.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def added(**changed: object) -> None:
    settings: dict[str, object] = {
        "table": Path("clips/list.csv"),
        "name": "mine",
        "root": None,
        "columns": {},
        "arrays": {},
    }
    add_dataset.run(load_params(), **{**settings, **changed})  # type: ignore[arg-type]


def test_sound_and_picture_of_files_of_their_own_go_through_the_stages(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = project / "clips"
    for number in range(24):
        write_wave(clips / f"{number}.wav", tone(0.8))
    rows = [f"{number}.mp4,{number}.wav,{'ab'[number % 2]}" for number in range(24)]
    (clips / "list.csv").write_text("\n".join(["video,recording,mood", *rows]))
    added()
    assert "label = mood" in (out := capsys.readouterr().out) and "path = recording and video" in out
    params = load_params()
    for stage in (raw, index):
        stage.run(params, dataset="mine")
    features.run(params, dataset="mine", modality="audio")
    assert {sample["paths"]["audio"] for sample in read_json(Path("data/mine/index.json"))["samples"]} == {
        f"{number}.wav" for number in range(24)
    }


def test_the_entry_goes_through_the_stages(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    added()
    out = capsys.readouterr().out
    assert "mine: 24 samples, path = take, label = mood, group = speaker\n" in out
    assert "note: split by whole groups of 'speaker' (6)" in out
    assert "snakemake --cores 2 results/mine_{joint,joint-uni,aim}.json" in out
    assert "for a training of joint" in out
    params = load_params()
    for stage in (raw, index):
        stage.run(params, dataset="mine")
    for modality in ("audio", "visual"):
        features.run(params, dataset="mine", modality=modality)
    manifest.run(params, dataset="mine")
    found = read_json(Path("data/mine/manifest.json"))
    assert found["classes"] == ["a", "b"] and list(found["modalities"]) == ["audio", "visual"]
    assert add_dataset.input_shape(params.dataset("mine").modalities["visual"]) == (3, 3, 48, 72)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "cremad"}, "has a dataset 'cremad' already"),
        ({"name": "Mine"}, "a name is lower-case letters"),
        ({"columns": {"label": "x"}}, "has no column 'x'"),
        ({"root": Path()}, "set --root"),
        ({"arrays": {"Text": "x.npy"}}, "x.npy: no such file"),
    ],
)
def test_a_refusal_writes_nothing(project: Path, changed: dict[str, object], said: str) -> None:
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(UserError, match=said):
        added(**changed)
    assert (project / "params.yaml").read_bytes() == before
    assert sorted(path.name for path in project.iterdir()) == ["clips", "params.yaml"]


def test_time_grows_with_the_rows(project: Path) -> None:
    added()
    params, lines = load_params(), Path("clips/list.csv").read_text().splitlines()
    few = add_dataset.Sheet.read(Path("clips/list.csv"))
    many = add_dataset.Sheet(few.path, few.columns, few.rows * 100)
    assert len(lines) == 25
    cpu = add_dataset.torch.device("cpu")
    assert add_dataset.training(params, "mine", many, cpu) > 10 * add_dataset.training(params, "mine", few, cpu)
