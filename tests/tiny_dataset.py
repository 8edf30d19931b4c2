"""A tiny deterministic dataset in the form that training reads, and a params.yaml to match: what tests of training, AIM
and stages start from.

`write(root)` makes data/tiny/ and params.yaml below `root`;
run tests in that folder (fixture `tiny` of conftest.py does both).
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from equimodal.params import Params, parse_params
from equimodal.settings.base import deep_merge
from equimodal.settings.regression import RegressionSettings
from equimodal.store import array_writer, digest, file_sha256, write_json

CLASSES = ["alpha", "beta", "gamma"]
COUNTS = {"train": 60, "val": 24, "test": 24}
VALUES = [-2.0, 0.25, 2.0]  # of the classes, as a regression
REGRESSION: dict[str, Any] = {"low": -3.0, "high": 3.0}
REJECTED = (5, 40)  # rows of the arrays that belong to no sample
SIZE, MARGIN, FRAMES = (16, 16), 2, 2

MODALITIES: dict[str, dict[str, Any]] = {
    "audio": {
        "kind": "spectrogram",
        "sample_rate": 4000,
        "seconds": 0.5,
        "n_fft": 64,
        "hop": 100,
        "window": 64,
        "mel_bins": 16,
    },
    "visual": {"kind": "frames", "n": FRAMES, "size": list(SIZE), "margin": MARGIN, "channels": 3},
    "motion": {"kind": "flow", "n": FRAMES, "size": list(SIZE), "margin": MARGIN, "channels": 2},
    "text": {"kind": "sequence", "file": "text.npy", "length": 8, "width": 6},
    "face": {"kind": "sequence", "file": "face.npy", "length": 12, "width": 4},
    "facts": {"kind": "vector", "file": "facts.npy", "width": 7},
}
SEQUENCES = ["text", "face"]
SHAPES = {
    "audio": (1, 16, 20),
    "visual": (3, FRAMES, SIZE[0] + MARGIN, SIZE[1] + MARGIN),
    "motion": (2, FRAMES, SIZE[0] + MARGIN, SIZE[1] + MARGIN),
    "text": (8, 6),
    "face": (12, 4),
    "facts": (7,),
}
# of the class signal, beside noise of deviation 1: audio is learned first
STRENGTH = {
    "audio": 1.0,
    "visual": 0.35,
    "motion": 0.6,
    "text": 1.0,
    "face": 0.5,
    "facts": 0.7,
}

PARAMS: dict[str, Any] = {
    "study": {
        "datasets": ["tiny"],
        "from-scratch": ["joint", "joint-uni", "audio", "visual"],
        "from-warmup": ["aim", "aim-no-pam"],
        "warmups": ["aim"],
        "fits": ["aim"],
        "seeds": [0, 1],
    },
    "runtime": {"device": "cpu", "threads": 1, "workers": 1},
    "tracking": {"enabled": False},
    "model": {
        "width": 4,
        "layers": [1, 1, 1, 1],
        "stem_stride": 1,
        "stem_pool": False,
        "transformer": {"width": 8, "heads": 2, "ffn": 2},
        "mlp": {"width": 8},
    },
    "training": {
        "epochs": 3,
        "batch_size": 16,
        "eval_batch_size": 32,
        "optimizer": {"lr": 0.05},
        "schedule": {"name": "cosine"},
    },
    "datasets": {"tiny": {"kind": "table", "root": "raw", "table": "samples.csv", "modalities": {}}},
    "methods": {
        "joint": {},
        "joint-uni": {"weight": 1.0},
        "audio": {"base": "unimodal", "modality": "audio"},
        "visual": {"base": "unimodal", "modality": "visual"},
        "aim": {
            "start_epoch": 1,
            "dap": {"steps": 6, "required_accuracy": 0.0},
            "pdm": {"latent": 16, "steps": 6, "every": 2},
        },
        "aim-no-pam": {"base": "aim", "pam": False},
        "aim-no-dam": {"base": "aim", "dam": False},
        "aim-label": {"base": "aim", "scores": "label"},
        "aim-aux-only": {"base": "aim", "original_weight": 0.0},
        "aim-literal": {"base": "aim", "preset": "literal"},
    },
}


def raw_params(third: bool | Sequence[str] = False, **overrides: Any) -> dict[str, Any]:
    """Content of params.yaml. Overrides are nested:
    raw_params(training={"epochs": 5}, methods={"aim": {"tau": 2.0}}).
    """
    raw = copy.deepcopy(PARAMS)
    raw["datasets"]["tiny"]["modalities"] = {name: MODALITIES[name] for name in names(third)}
    if not {"audio", "visual"} <= set(names(third)):  # methods of a modality that is not there would be refused
        raw["study"]["from-scratch"] = ["joint", "joint-uni"]
    return deep_merge(raw, overrides)


def params(third: bool | Sequence[str] = False, **overrides: Any) -> Params:
    """The same, checked."""
    return parse_params(raw_params(third, **overrides))


def write_params(root: Path, third: bool | Sequence[str] = False, **overrides: Any) -> Params:
    """Write params.yaml below `root`, for subprocesses; returns it checked."""
    (root / "params.yaml").write_text(yaml.safe_dump(raw_params(third, **overrides), sort_keys=False), encoding="utf-8")
    return params(third, **overrides)


def names(third: bool | Sequence[str] = False) -> list[str]:
    """Modalities in order: two, three, or those that are named."""
    if not isinstance(third, bool):
        return list(third)
    return ["audio", "visual", "motion"] if third else ["audio", "visual"]


def write(
    root: Path, third: bool | Sequence[str] = False, seed: int = 0, counts: dict[str, int] | None = None
) -> dict[str, Any]:
    """Write params.yaml, data/tiny/manifest.json and the arrays below `root`; returns the manifest.

    Args:
        third: add the modality `motion` (optical flow), or the names of the modalities.
        seed: of noise and class patterns.
        counts: samples per split; classes take turns.
    """
    counts = counts or COUNTS
    write_params(root, third)
    random = np.random.default_rng(seed)
    splits = [split for split, count in counts.items() for _ in range(count)]
    labels = [i % len(CLASSES) for i in range(len(splits))]
    rejected = [row for row in REJECTED if row < len(splits)]
    n_rows = len(splits) + len(rejected)
    rows = [row for row in range(n_rows) if row not in rejected]
    checked = params(third)
    modalities: dict[str, Any] = {}
    for name in names(third):
        if MODALITIES[name]["kind"] in ("sequence", "vector"):
            modalities[name] = _features(
                root, name, checked.datasets["tiny"].modalities[name].slice(), random, rows, labels, splits, n_rows
            )
            continue
        shape = SHAPES[name]
        coarse = (
            random.normal(size=(len(CLASSES), *shape[:-2], 4, 4))
            .repeat(-(-shape[-2] // 4), -2)
            .repeat(-(-shape[-1] // 4), -1)
        )
        pattern = coarse[..., : shape[-2], : shape[-1]]
        values = np.zeros((n_rows, *shape))
        for row, label in zip(rows, labels, strict=True):
            values[row] = STRENGTH[name] * pattern[label] + random.normal(size=shape)
        feature = checked.datasets["tiny"].modalities[name].slice()
        stored = (
            values.astype(np.float32)
            if name == "audio"
            else np.clip(127.5 + 40 * values, 0, 255).round().astype(np.uint8)
        )
        if name != "audio":
            stored[rejected] = 0
        path = Path("data") / "tiny" / "features" / f"{name}.npy"
        with array_writer(root / path, stored.shape, str(stored.dtype)) as array:
            array[:] = stored
        train = stored[[row for row, split in zip(rows, splits, strict=True) if split == "train"]].astype(np.float64)
        axes = (0, *range(2, train.ndim))
        modalities[name] = {
            "kind": feature["kind"],
            "shape": list(shape),
            "dtype": str(stored.dtype),
            "path": str(path),
            "sha256": file_sha256(root / path),
            "notes": {"zero": 128} if feature["kind"] == "flow" else {},
            "mean": train.mean(axes).tolist(),
            "std": train.std(axes).tolist(),
            "settings": feature,
        }
    manifest = {
        "dataset": "tiny",
        "source": "sample",
        "task": "classification",
        "classes": CLASSES,
        "split": {"rule": "column", "counts": {}},
        "order": list(modalities),
        "modalities": modalities,
        "rows": rows,
        "ids": [f"sample{row:03d}" for row in rows],
        "labels": labels,
        "splits": splits,
        "groups": [str(row % 7) for row in rows],
        "rejected": [{"id": f"sample{row:03d}", "modality": names(third)[1], "reason": "made so"} for row in rejected],
        "zero_filled": dict.fromkeys(modalities, 0),
    }
    manifest["digest"] = digest(manifest)
    write_json(root / "data" / "tiny" / "manifest.json", manifest)
    return manifest


def write_regression(root: Path, third: bool | Sequence[str] = False, **overrides: Any) -> Params:
    """The same data with numbers for labels (about -2, 0.25 and 2 by class), and its params.yaml, which is returned."""
    manifest = write(root, third)
    del manifest["digest"]
    manifest |= {
        "task": "regression",
        "regression": RegressionSettings(**REGRESSION).slice(),
        "classes": RegressionSettings(**REGRESSION).names,
    }
    manifest["labels"] = [
        VALUES[label] + (7 * row % 11 - 5) / 20 for row, label in zip(manifest["rows"], manifest["labels"], strict=True)
    ]
    write_json(root / "data" / "tiny" / "manifest.json", {**manifest, "digest": digest(manifest)})
    return write_params(
        root, third, **deep_merge({"datasets": {"tiny": {"task": "regression", "regression": REGRESSION}}}, overrides)
    )


def _features(
    root: Path,
    name: str,
    settings: dict[str, Any],
    random: np.random.Generator,
    rows: list[int],
    labels: list[int],
    splits: list[str],
    n_rows: int,
) -> dict[str, Any]:
    """The manifest's entry of a modality of vectors or of sequences of any length, the empty one among them,
    and its array.
    """
    shape = SHAPES[name]
    pattern = random.normal(size=(len(CLASSES), shape[-1]))
    stored = np.zeros((n_rows, *shape), np.float32)
    lengths = [0] * n_rows
    for row, label in zip(rows, labels, strict=True):
        lengths[row] = int(random.integers(1, shape[0] + 1)) if row % 17 else 0
        drawn = STRENGTH[name] * pattern[label] + random.normal(size=shape)
        stored[row] = drawn
        if len(shape) == 2:
            stored[row, lengths[row] :] = 0
    path = Path("data") / "tiny" / "features" / f"{name}.npy"
    with array_writer(root / path, stored.shape, "float32") as array:
        array[:] = stored
    members = [row for row, split in zip(rows, splits, strict=True) if split == "train"]
    train = np.concatenate(
        [stored[row, : lengths[row]] if len(shape) == 2 else stored[row : row + 1] for row in members]
    ).astype(np.float64)
    entry = {
        "kind": MODALITIES[name]["kind"],
        "shape": list(shape),
        "dtype": "float32",
        "path": str(path),
        "sha256": file_sha256(root / path),
        "mean": train.mean(0).tolist(),
        "std": train.std(0).tolist(),
        "notes": {},
        "settings": settings,
    }
    return {**entry, "lengths": lengths} if len(shape) == 2 else entry
