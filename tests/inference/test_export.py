"""Exported folders: they load, say what they are, and ONNX answers as torch does."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import yaml

from equimodal.engines.layout import model_folder
from equimodal.errors import UserError
from equimodal.inference.export import export
from equimodal.inference.model import load
from equimodal.store import file_sha256, read_json
from typed import typed

MODEL = model_folder("d", "joint", 0) / "val.safetensors"


def test_a_result_s_seeds(cremad: Path, tmp_path: Path) -> None:
    done = export("results/d_joint.json", tmp_path / "out")
    assert done.files == ["README.md", "config.json", "model.onnx", "seed-0.safetensors", "seed-1.safetensors"]
    assert done.difference is not None
    assert done.difference < 1e-5
    config = read_json(tmp_path / "out/config.json")
    assert config["files"] == {name: file_sha256(tmp_path / "out" / name) for name in config["files"]}
    assert config["classes"] == read_json(Path("data/d/manifest.json"))["classes"]

    exported, model = load(tmp_path / "out"), load("results/d_joint.json")
    files = [str(file) for file in sorted(Path("data/d/raw/VideoFlash").glob("1001_*"))]
    wanted = model.predictions(files)
    np.testing.assert_array_equal(exported.predict_proba(files), wanted.fused)

    stored = {name: np.load(f"data/d/features/{name}.npy")[:5] for name in model.modalities}
    session = onnxruntime.InferenceSession(tmp_path / "out/model.onnx", providers=["CPUExecutionProvider"])
    said = session.run(["probabilities", "audio_probabilities"], stored)
    again = model.predictions([{name: rows[n] for name, rows in stored.items()} for n in range(5)])
    np.testing.assert_allclose(said[0], again.fused, atol=1e-5)
    np.testing.assert_allclose(said[1], again.alone["audio"], atol=1e-5)


def test_the_card_has_the_result_s_numbers(cremad: Path, tmp_path: Path) -> None:
    export("results/d_joint.json", tmp_path / "out", onnx=False)
    text = (tmp_path / "out/README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front == {"library_name": "equimodal", "tags": ["multimodal", "equimodal", "generated-sample"]}
    accuracy = read_json(Path("results/d_joint.json"))["selection"]["val"]["accuracy"]
    assert f"| accuracy | {100 * accuracy['mean']:.1f} ± {100 * accuracy['std']:.1f} |" in text
    assert "Generated sample: shows that the chain works, is no result." in text
    assert "seeds 0, 1" in text
    assert "Samples, train / validation / test: d " in text and "Warning: d: validation has " in text
    export(MODEL, tmp_path / "one", onnx=False)
    one = read_json(MODEL.with_name("evaluation.json"))["selection"]["val"]["test"]["accuracy"]
    assert f"| accuracy | {100 * one:.1f} |" in (tmp_path / "one/README.md").read_text()
    assert load(tmp_path / "one").seeds == [0]


def test_the_same_bytes_twice_and_only_over_an_earlier_one(cremad: Path, tmp_path: Path) -> None:
    first = {file: file_sha256(tmp_path / "a" / file) for file in export(MODEL, tmp_path / "a", onnx=False).files}
    again = {file: file_sha256(tmp_path / "a" / file) for file in export(MODEL, tmp_path / "a", onnx=False).files}
    assert first == again
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is there and is no earlier export"):
        export(MODEL, tmp_path / "mine")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_the_command(cremad: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, said, _ = typed(capfd, "export", str(MODEL), str(tmp_path / "out"), "--no-onnx")
    assert status == 0
    assert said == f"{tmp_path}/out/: README.md, config.json, model.safetensors\n"
