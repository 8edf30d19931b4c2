"""Settings of small datasets, for tests of datasets and of the stages that read them."""

from typing import Any

from equimodal.datasets.base import DatasetKind
from equimodal.datasets.registry import dataset_kind
from equimodal.params import Params, parse_params
from equimodal.settings.base import deep_merge

MODALITIES = {"audio": {"kind": "spectrogram", "mel_bins": 8}, "visual": {"kind": "frames", "n": 2, "size": [16, 16]}}
CREMAD: dict[str, Any] = {
    "kind": "cremad",
    "source": "sample",
    "sample": {"actors": 4, "clips_per_actor": 6, "seconds": 0.5, "size": [32, 40]},
    "split": {"rule": "actor", "folds": 4, "validation": 0.3},
    "modalities": MODALITIES,
}
KS: dict[str, Any] = {
    "kind": "ks",
    "source": "sample",
    "sample": {"classes": 2, "clips_per_class": 12, "seconds": 0.6, "size": [32, 40]},
    "split": {"validation": 0.3},
    "missing": "zero",
    "modalities": MODALITIES,
}
UCF101: dict[str, Any] = {
    "kind": "ucf101",
    "source": "sample",
    "sample": {"classes": 3, "groups": 6, "clips_per_group": 1, "seconds": 0.3, "size": [32, 40]},
    "modalities": {
        "rgb": {"kind": "frames", "n": 2, "size": [16, 16]},
        "flow": {"kind": "flow", "n": 2, "size": [16, 16]},
    },
}
TABLE: dict[str, Any] = {
    "kind": "table",
    "root": "media",
    "table": "rows.csv",
    "split": {"rule": "stratified"},
    "modalities": MODALITIES,
}


def params_of(base: dict[str, Any], **changes: Any) -> Params:
    """Params with one dataset "d": `base` with changes."""
    study = {"datasets": ["d"], "from-scratch": ["joint"], "from-warmup": [], "warmups": [], "fits": [], "seeds": [0]}
    raw = {
        "study": study,
        "runtime": {"workers": 2},
        "training": {"epochs": 3},
        "datasets": {"d": deep_merge(base, changes)},
        "methods": {"joint": {}},
    }
    return parse_params(raw)


def kind_of(params: Params, name: str) -> DatasetKind:
    """The dataset `name` of params.yaml, ready to be read."""
    return dataset_kind(name, params.dataset(name), params.runtime.workers)
