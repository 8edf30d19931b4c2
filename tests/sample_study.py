"""params.yaml as it ships with everything small: each dataset's own sample, two epochs, one seed. What the tests over
all datasets start from.
"""

from pathlib import Path
from typing import Any

import yaml

from equimodal.errors import UserError
from equimodal.methods.registry import METHODS
from equimodal.params import Params, parse_params
from equimodal.params.bases import with_bases
from equimodal.settings.base import deep_merge

# What makes a kind's sample small; a new kind of dataset with a sample adds its line.
SMALL: dict[str, dict[str, Any]] = {
    "ucf101": {
        "sample": {"classes": 3, "groups": 8, "clips_per_group": 2, "seconds": 0.3, "size": [32, 40]},
        "split": {"validation": 0.34},
    },
    "cremad": {
        "sample": {"actors": 4, "clips_per_actor": 12, "seconds": 0.5, "size": [32, 40]},
        "split": {"folds": 4, "validation": 0.34},
    },
    "ks": {
        "sample": {"classes": 2, "clips_per_class": 15, "seconds": 0.6, "size": [32, 40]},
        "split": {"validation": 0.34},
    },
    "mosi": {
        "sample": {"videos": 8, "segments": 6, "lengths": {"text": 5, "audio": 9, "vision": 7}},
        "modalities": {"text": {"length": 5}, "audio": {"length": 8}, "visual": {"length": 7}},
    },
}
FEW = ("aug",)  # of them, in the fast suite: the one whose model changes while it trains
EPOCHS = 2


def datasets(raw: dict[str, Any]) -> list[str]:
    """Names of the datasets in params.yaml that generate a sample of their own."""
    return [name for name, settings in with_bases(raw["datasets"]).items() if settings.get("source") == "sample"]


def small_params(root: Path, names: list[str] | None = None, methods: tuple[str, ...] | None = ()) -> dict[str, Any]:
    """The project's params.yaml, its study the sample datasets (or those named) x {joint, aim}, shrunk to seconds, with
    a table of `studies`.

    Args:
        methods: beside those two; None: every registered one that the datasets do not refuse, and what they start from.
    """
    raw = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    raw["datasets"] = with_bases(raw["datasets"])
    names = datasets(raw) if names is None else names
    short = {
        "model": {"width": 4},
        "training": {"epochs": EPOCHS, "batch_size": 8},
        "methods": {"aim": {"start_epoch": 1}},
    }
    aim = {"dap": {"steps": 5, "required_accuracy": 0.0}, "pdm": {"latent": 16, "steps": 5}}
    kept = {}
    for name in names:
        settings = raw["datasets"][name]
        assert settings["kind"] in SMALL, (
            f"say in tests/sample_study.py what makes the sample of {settings['kind']} small"
        )
        alone = {key: value for key, value in settings.items() if key != "base"}
        kept[name] = deep_merge(deep_merge(alone, short), SMALL[settings["kind"]])
    made = {
        **raw,
        "study": study(names, ["joint"]),
        "studies": {"small": {"show": "accuracy", "datasets": [*names], "methods": ["joint", "aim"]}},
        "datasets": kept,
        "methods": deep_merge(raw["methods"], {"aim": aim}),
        "tracking": {"enabled": False},
        "runtime": deep_merge(raw["runtime"], {"device": "cpu", "workers": 1}),
    }
    params = parse_params(made)
    wanted = [name for name in METHODS if name not in ("joint", "unimodal", "aim")] if methods is None else methods
    taken = [name for name in wanted if all(takes(params, dataset, name) for dataset in names)]
    starts = [name for name in taken if params.family(name) == "from-unimodal"]
    alone = [params.unimodal_of(dataset) for dataset in names] if starts else []
    unimodal = list(dict.fromkeys(name for by_modality in alone for name in by_modality.values()))
    scratch = ["joint", *unimodal, *(name for name in taken if params.family(name) == "from-scratch")]
    return {**made, "study": {**study(names, scratch), "from-unimodal": starts, "unimodal": unimodal[:]}}


def study(names: list[str], scratch: list[str]) -> dict[str, Any]:
    """A section `study` of one seed with AIM."""
    return {
        "datasets": names,
        "from-scratch": scratch,
        "from-warmup": ["aim"],
        "from-unimodal": [],
        "unimodal": [],
        "warmups": ["aim"],
        "fits": ["aim"],
        "seeds": [0],
        "tables": ["small"],
        "figures": [],
    }


def takes(params: Params, dataset: str, method: str) -> bool:
    """Whether a dataset does not refuse a method."""
    try:
        params.check_pair(dataset, method)
    except UserError:
        return False
    return True
