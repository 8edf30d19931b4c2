"""What evaluation said of a trained model of dataset "d", and the clips of which it said so; in the present folder."""

from pathlib import Path

import pandas as pd

from equimodal.engines.layout import model_folder
from equimodal.store import read_json


def weights(seed: int = 0) -> Path:
    """Of joint training, chosen on validation."""
    return model_folder("d", "joint", seed) / "val.safetensors"


def evaluated(seed: int = 0) -> pd.DataFrame:
    """Evaluation's rows of the test split."""
    frame = pd.read_parquet(weights(seed).with_name("predictions.parquet"))
    return frame[frame["split"] == "test"].reset_index(drop=True)


def clips_of(ids: list[str]) -> list[dict[str, str]]:
    """The files of samples."""
    index = read_json(Path("data/d/index.json"))
    paths = {sample["id"]: sample["paths"] for sample in index["samples"]}
    return [{name: f"{index['root']}/{file}" for name, file in paths[each].items()} for each in ids]
