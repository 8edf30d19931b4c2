"""A small CREMA-D sample with trained models, and one of sequences and vectors, made by the stages themselves."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import array_files
from equimodal.params import Params
from equimodal.settings.base import deep_merge
from equimodal.stages import evaluate, features, index, manifest, operations, raw, summary, train, weights
from small_datasets import CREMAD, TABLE, params_of

SMALL = {"model": {"width": 8, "layers": [1, 1, 1, 1]}, "training": {"epochs": 2, "batch_size": 8}}


def build(params: Params, seeds: tuple[int, ...] = (0,)) -> None:
    """Dataset "d" and method joint, in the present folder."""
    raw.run(params, "d")
    index.run(params, "d")
    for modality in params.dataset("d").modalities:
        features.run(params, "d", modality)
    manifest.run(params, "d")
    weights.run(params, "d")
    for seed in seeds:
        train.run(params, "d", "joint", seed)
        evaluate.run(params, "d", "joint", seed)


@pytest.fixture(scope="session")
def cremad_built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with CREMA-D's generated sample, joint training with two seeds, their result; no params.yaml."""
    folder = tmp_path_factory.mktemp("cremad")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = params_of(deep_merge(CREMAD, SMALL))
        tracking = params.tracking.model_copy(update={"enabled": False})
        params = params.model_copy(update={"tracking": tracking})
        build(params, (0, 1))
        operations.run(params, "d", "joint")
        summary.run(params, "d", "joint", [0, 1])
    return folder


@pytest.fixture(scope="session")
def arrays_built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of sequences `text` and vectors `face`, numbers for labels, joint training."""
    folder = tmp_path_factory.mktemp("arrays")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("media").mkdir()
        random = np.random.default_rng(0)
        rows = ["label,text,face"]
        for number, words in enumerate(array_files.ragged([3, 5, 7, 9] * 6, 6)):
            np.save(f"media/{number}t.npy", words)
            np.save(f"media/{number}f.npy", random.normal(size=5).astype(np.float32))
            rows.append(f"{number % 5 - 2},{number}t.npy,{number}f.npy")
        Path("media/rows.csv").write_text("\n".join(rows) + "\n")
        own = {
            "columns": {"path": None},
            "task": "regression",
            "regression": {"low": -2, "high": 2, "points": 5},
            "modalities": {
                "text": {"kind": "sequence", "length": 7, "width": 6, "column": "text"},
                "face": {"kind": "vector", "width": 5, "column": "face"},
            },
            "model": {"transformer": {"layers": 1, "width": 8, "heads": 2, "ffn": 2}},
        }
        base = {key: value for key, value in TABLE.items() if key != "modalities"}
        params = params_of(deep_merge(deep_merge(base, own), {"training": {"epochs": 2, "batch_size": 8}}))
        tracking = params.tracking.model_copy(update={"enabled": False})
        build(params.model_copy(update={"tracking": tracking}))
    return folder


@pytest.fixture(scope="module")
def cremad(cremad_built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The present folder, a copy for the tests of a file."""
    yield from copied(cremad_built, tmp_path_factory.mktemp("copy") / "cremad")


@pytest.fixture(scope="module")
def arrays(arrays_built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The present folder, a copy for the tests of a file."""
    yield from copied(arrays_built, tmp_path_factory.mktemp("copy") / "arrays")


def copied(built: Path, folder: Path) -> Iterator[Path]:
    shutil.copytree(built, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder
