"""Sequences and vectors, as files and as arrays; numbers for labels."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import array_files
from equimodal.errors import UserError
from equimodal.inference import onnx_graph
from equimodal.inference.clips import named
from equimodal.inference.export import export
from equimodal.inference.model import load
from equimodal.inference.onnx_graph import write_onnx
from equimodal.store import read_json
from evaluated_clips import clips_of, evaluated, weights

MODEL = weights()


@pytest.mark.parametrize("what", ["text", "face"])
def test_sequences_and_vectors_of_a_regression(arrays: Path, what: str) -> None:
    model = load(MODEL)
    frame = evaluated()
    clips = clips_of(list(frame["id"]))
    found = model.predictions(clips)
    assert found.fused.astype(np.float32).tobytes() == frame["prediction"].to_numpy(np.float32).tobytes()
    given = [{**clip, what: np.load(clip[what])} for clip in clips]
    np.testing.assert_array_equal(model.predictions(given).fused, found.fused)
    assert model.predict(clips[0]) == pytest.approx([frame["prediction"][0]], rel=1e-5)
    with pytest.raises(UserError, match="a regression predicts numbers"):
        model.predict_proba(clips)


def test_a_regression_s_columns_are_numbers(arrays: Path) -> None:
    frame = evaluated()
    assert list(frame.columns) == ["id", "split", "label", "prediction", "text:prediction", "face:prediction"]
    errors = read_json(MODEL.with_name("evaluation.json"))["selection"]["val"]["test"]["errors"]
    assert (frame["prediction"] - frame["label"]).abs().mean() == pytest.approx(errors["mae"], rel=1e-6)


def test_which_of_two_arrays_a_file_is_must_be_said(arrays: Path) -> None:
    about = load(MODEL).about
    with pytest.raises(UserError, match="reads arrays of text, face: say which this is, as text=FILE"):
        named(["media/0t.npy"], about)
    (clip,) = named(["text=media/0t.npy,face=media/0f.npy"], about)
    assert dict(clip.files) == {"text": "media/0t.npy", "face": "media/0f.npy"}


def test_arrays_of_another_shape_are_refused(arrays: Path) -> None:
    model = load(MODEL)
    with pytest.raises(UserError, match=r"text is an array of shape \[3\]: \[steps, 6\] is needed"):
        model.predict({"text": np.zeros(3), "face": np.zeros(5)})
    found = model.predictions({"text": np.full((3, 6), np.nan), "face": np.zeros(5)})
    assert "NaN or infinite" in found.rejected[0].reason


@pytest.fixture(scope="module")
def written(arrays: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as ONNX."""
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    write_onnx(load(MODEL), path)
    return path


def test_onnx_knows_a_sequence_s_length(written: Path) -> None:
    model = load(MODEL)
    clips = clips_of(list(evaluated()["id"]))
    wanted = model.predictions(clips)
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    text = [np.load(clip["text"])[:7] for clip in clips]
    feed = {
        "text": array_files.padded(text, 7),
        "text_steps": np.array([len(words) for words in text]),
        "face": np.stack([np.load(clip["face"]) for clip in clips]),
    }
    assert len({len(words) for words in text}) > 1
    said = session.run(["value", "text_value"], feed)
    np.testing.assert_allclose(said[0], wanted.fused, atol=1e-5)
    np.testing.assert_allclose(said[1], wanted.alone["text"], atol=1e-5)
    feed["text"][feed["text_steps"] < 7, 6:] = 99.0
    np.testing.assert_array_equal(session.run(["value"], feed)[0], said[0])


def test_an_answer_that_differs_is_refused(arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match="the ONNX file's answers differ from torch's"):
        export(MODEL, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_same_onnx_bytes_twice(written: Path, tmp_path: Path) -> None:
    write_onnx(load(MODEL), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == written.read_bytes()
