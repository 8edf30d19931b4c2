"""Files as the stages leave them."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equimodal.store import write_json


@pytest.fixture(scope="session")
def write_study() -> Callable[[Path], None]:
    """Writes a finished study of two methods and two seeds below a folder."""
    return _study


@pytest.fixture(scope="session")
def write_warmup() -> Callable[[Path], None]:
    """Writes the warm-up and the prototypes of method aim, seed 0."""
    return _warmup


@pytest.fixture(scope="session")
def write_weights() -> Callable[..., None]:
    """Writes a file of weights that says of itself what a training's does, with changes; `about=False`: an old one."""
    return _weights


def _meta(method: str, seed: int, stage: str, **more: Any) -> dict[str, Any]:
    settings = {
        "training": {"epochs": 2, "optimizer": {"lr": 0.1}},
        "method": {"name": method},
        "model": {"layers": [1, 1]},
    }
    place = {
        "dataset": "toy",
        "method": method,
        "seed": seed,
        "stage": stage,
        "key": f"{method}-{seed}-{stage}",
        "source": "sample",
    }
    return {**place, "data_digest": "ab" * 32, "settings": settings, **more}


def _study(root: Path) -> None:
    for method in ("aim", "joint"):
        for seed in range(2):
            folder = root / "models" / "toy" / method / str(seed)
            epochs = [
                {"epoch": e, "metrics": {"train/loss": 1 / (e + 1), "val/accuracy": 0.5 + e / 10, "none": None}}
                for e in range(2)
            ]
            write_json(
                folder / "curves.json", {"meta": _meta(method, seed, "train"), "epochs": epochs, "selected": {"val": 1}}
            )
            write_json(
                folder / "evaluation.json",
                {
                    "meta": _meta(method, seed, "evaluate"),
                    "selection": {
                        "val": {"epoch": 1, "test": {"accuracy": 0.6 + seed / 10, "confusion": [[1, 2], [3, 4]]}}
                    },
                },
            )
        result = {
            "dataset": "toy",
            "source": "sample",
            "seeds": [0, 1],
            "selection": {"val": {"accuracy": {"mean": 0.65, "std": 0.05, "per_seed": [0.6, 0.7]}}},
        }
        write_json(root / "results" / f"toy_{method}.json", result)
        figure = root / "results" / "figures" / f"toy_{method}" / "curves.svg"
        figure.parent.mkdir(parents=True)
        figure.write_text("<svg/>")


def _warmup(root: Path) -> None:
    path = root / "models" / "toy" / "warmup" / "0" / "aim.safetensors"
    _header(
        path,
        {
            "key": "warm",
            "run": _meta("aim", 0, "warmup"),
            "history": [{"epoch": 0, "metrics": {"train/loss": 2.0}}],
        },
    )
    log = {"dap": {"step": [0, 10], "accuracy": [0.2, 1.0]}, "pdm": {"step": [0], "audio": [0.3]}, "tau": 1.5}
    write_json(
        root / "models" / "toy" / "prototypes" / "0" / "aim.json", {"meta": _meta("aim", 0, "prototypes"), "log": log}
    )


def _weights(path: Path, **changes: Any) -> None:
    inputs = [
        {"name": name, "kind": kind, "settings": {}, "shape": [1], "mean": [0.0], "std": [1.0], "notes": {}}
        for name, kind in (("audio", "spectrogram"), ("text", "sequence"))
    ]
    about = (
        {"format": 1, "version": "0.1.0", "dataset": "toy", "source": "sample", "protocol": "custom"}
        | {"data_digest": "ab" * 32, "task": "classification", "classes": ["yes", "no"], "regression": None}
        | {"missing": "reject", "inputs": inputs, "model": {}, "channels_last": False}
        | {"method": "aim", "kind": "aim", "settings": {}, "seed": 0}
    )
    meta = {"rule": "val", "epoch": 1, "structure": {}, "about": {**about, **changes}}
    _header(path, meta if changes.get("about", True) else {key: meta[key] for key in ("rule", "epoch")})


def _header(path: Path, meta: Any) -> None:
    """A file of weights without any tensor."""
    text = json.dumps({"__metadata__": {"json": json.dumps(meta)}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text)
