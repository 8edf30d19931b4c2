"""Models as MLflow loads them: tables of paths in, tables of predictions out."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from equimodal.errors import UserError
from equimodal.inference.clips import Clip
from equimodal.inference.description import read
from equimodal.inference.model import ClipsRejected, load
from equimodal.inference.signature import answered, example

WEIGHTS = Path("models/d/joint/0/val.safetensors")


def served(folder: Path) -> Any:
    """The model in the present folder, through mlflow's own checks of what it is asked and answers."""
    import mlflow.pyfunc

    from equimodal.tracking.models import write

    write(folder / "model", read(WEIGHTS)[0], WEIGHTS)
    return mlflow.pyfunc.load_model(str(folder / "model"))


def test_a_table_of_paths_is_answered_as_predict_answers(cremad: Path, tmp_path: Path) -> None:
    sounds = sorted(Path("data/d/raw/AudioWAV").glob("1001_*"))[:3]
    pictures = [str(Path("data/d/raw/VideoFlash", file.stem + ".flv")) for file in sounds]
    model = served(tmp_path)
    table = pd.DataFrame({"audio": [str(file) for file in sounds], "visual": pictures, "path": ["", None, ""]})
    answer = model.predict(table)
    expected = load(WEIGHTS).predictions(
        [Clip(a.stem, {"audio": str(a), "visual": v}) for a, v in zip(sounds, pictures, strict=True)]
    )
    about = read(WEIGHTS)[0]
    assert list(answer.columns) == list(answered(about))
    assert list(answer["id"]) == [file.stem for file in sounds] and list(answer["prediction"]) == expected.labels
    probabilities = answer[[f"p:{name}" for name in about.classes]].to_numpy()
    assert np.array_equal(probabilities, expected.fused)
    assert np.array_equal(answer["probability"], expected.fused.max(1))

    parts = pd.DataFrame({"path": [str(sounds[0])], "visual": [pictures[0]], "id": ["mine"], "start": [0.1]})
    part = load(WEIGHTS).predictions(
        Clip("mine", {"audio": str(sounds[0]), "visual": pictures[0]}, start=float(parts["start"][0]))
    )
    answer = model.predict(parts)
    assert list(answer["id"]) == ["mine"] and answer["probability"][0] == part.fused.max()
    assert part.fused.max() != expected.fused[0].max()


def test_what_cannot_be_answered_is_said(cremad: Path, tmp_path: Path) -> None:
    model = served(tmp_path)
    whole = str(next(Path("data/d/raw/VideoFlash").glob("1001_*")))
    with pytest.raises(ClipsRejected, match="nowhere: audio: unreadable"):
        model.predict(pd.DataFrame({"path": ["nowhere.mp4"], "visual": [whole]}))
    with pytest.raises(UserError, match="no column of files"):
        model.predict(pd.DataFrame({"id": ["a"]}))
    with pytest.raises(UserError, match="row 1: no file is named"):
        model.predict(pd.DataFrame({"path": [whole, ""]}))


def test_arrays_and_a_regression(arrays: Path, tmp_path: Path) -> None:
    table = pd.DataFrame({"text": ["media/0t.npy", "media/1t.npy"], "face": ["media/0f.npy", "media/1f.npy"]})
    answer = served(tmp_path).predict(table)
    assert list(answer.columns) == ["id", "prediction"]
    assert list(answer["prediction"]) == load(WEIGHTS).predict(table.to_dict("records"))
    assert example(read(WEIGHTS)[0]) == {"text": "text.npy#0", "face": "face.npy#0"}
