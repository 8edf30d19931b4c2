"""Two results compared over seeds and samples, from the files that evaluation writes."""

from pathlib import Path

import pandas as pd
import pytest

import tiny_dataset
from equimodal.engines.layout import model_folder, result_path
from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.stages import compare, evaluate, operations, summary, train
from equimodal.store import read_json, write_table


def built(params: Params) -> None:
    for method in ("joint", "joint-uni"):
        for seed in (0, 1):
            train.run(params, "tiny", method, seed)
            evaluate.run(params, "tiny", method, seed)
        operations.run(params, "tiny", method)
        summary.run(params, "tiny", method, [0, 1])


def right(method: str, seed: int) -> pd.Series:
    frame = pd.read_parquet(model_folder("tiny", method, seed) / "predictions.parquet")
    frame = frame[frame["split"] == "test"]
    return frame["prediction"] == frame["label"]


def test_over_seeds_and_samples(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = tiny_dataset.params()
    built(params)
    capsys.readouterr()
    files = result_path("tiny", "joint"), result_path("tiny", "joint-uni")
    compare.run(params, *files)
    said = capsys.readouterr().out.splitlines()
    values = [read_json(file)["selection"]["val"]["accuracy"]["mean"] for file in files]
    assert said[0].startswith("tiny_joint minus tiny_joint-uni, ")
    assert said[1].startswith(f"over 2 seeds: {100 * (values[0] - values[1]):+.2f} points of accuracy")
    for seed, line in enumerate(said[4:]):
        one, two = right("joint", seed), right("joint-uni", seed)
        wanted = [seed, (one & ~two).sum(), (two & ~one).sum(), (one & two).sum(), (~one & ~two).sum()]
        assert list(map(int, line.split()[:5])) == wanted

    path = model_folder("tiny", "joint-uni", 1) / "predictions.parquet"
    write_table(path, {"id": ["x"], "split": ["test"], "label": ["alpha"], "prediction": ["alpha"]})
    with pytest.raises(UserError, match="were predicted on other samples: evaluate both again"):
        compare.run(params, *files)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="is not a readable parquet file"):
        compare.run(params, *files)
    path.unlink()
    with pytest.raises(UserError, match=r"predictions\.parquet is missing: evaluate that model again"):
        compare.run(params, *files)
