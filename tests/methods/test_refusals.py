"""Data that a method is not for: refused where params.yaml is read, in a line with the reason."""

from typing import Any

import pytest

import tiny_dataset
from equimodal.errors import UserError
from equimodal.params import parse_params

TWO_OR_MORE = [
    "g-blending",
    "greedy",
    "ogm",
    "opm",
    "mla",
    "aug",
    "pmr",
    "agm",
    "mmpareto",
    "inforeg",
    "reconboost",
    "lfm",
    "mnl",
    "arm",
    "mwam",
    "mie",
    "shapley-alternating",
    "frozen",
    "ensemble",
    "late",
    "dr",
]
CLASSES = ["pmr", "agm", "dr", "reconboost", "mnl"]


def check(method: str, raw: dict[str, Any]) -> None:
    raw["study"] |= {"from-scratch": ["joint"], "from-warmup": [], "warmups": [], "fits": []}
    parse_params(raw).check_pair("tiny", method)


@pytest.mark.parametrize("method", TWO_OR_MORE)
def test_one_modality_has_nothing_to_balance(method: str) -> None:
    raw = tiny_dataset.raw_params(methods={method: {}})
    raw["datasets"]["tiny"]["modalities"].pop("visual")
    said = f"method '{method}' balances modalities and needs two or more; tiny has: audio"
    with pytest.raises(UserError, match=said):
        check(method, raw)


@pytest.mark.parametrize("method", CLASSES)
def test_classes_only(method: str) -> None:
    numbers = {"tiny": {"task": "regression", "regression": tiny_dataset.REGRESSION}}
    raw = tiny_dataset.raw_params(methods={method: {}}, datasets=numbers)
    with pytest.raises(
        UserError, match=rf"method '{method}' is for classification; datasets\.tiny\.task is regression"
    ):
        check(method, raw)
