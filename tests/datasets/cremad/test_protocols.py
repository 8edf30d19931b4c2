"""Published protocols: each resolves to the numbers of its row, and what the user says goes above it."""

from typing import Any

import pytest

from equimodal.datasets.base import Listing, Sample
from equimodal.datasets.cremad.protocols import PROTOCOLS
from equimodal.datasets.splits import SPLITS, assign
from equimodal.errors import UserError
from equimodal.features.extract import kind_of
from equimodal.params import Params, parse_params

# rule, sound [bins, T], frames, epochs, batch, optimizer, rate, schedule, drop
ROWS: dict[str, tuple[Any, ...]] = {
    "ogm": ("ogm", (257, 188), 1, 100, 64, "sgd", 1e-3, "step", 70),
    "dr": ("ogm", (128, 1024), 2, 90, 64, "sgd", 2e-3, "constant", 70),
    "mla": ("stratified", (128, 1024), 3, 100, 64, "sgd", 1e-3, "step", 70),
    "aug": ("ogm", (257, 1250), 1, 200, 64, "sgd", 1e-2, "step", 70),
    "bench": ("ogm", (128, 1024), 2, 30, 32, "adamw", 1e-3, "step", 10),
    "honest": ("actor", (257, 188), 3, 100, 64, "sgd", 1e-3, "step", 70),
}


def params_of(protocol: str, **changes: Any) -> Params:
    study = {"datasets": ["d"], "from-scratch": ["joint"], "from-warmup": [], "seeds": [0]}
    return parse_params(
        {
            "study": study,
            "datasets": {"d": {"kind": "cremad", "source": "local", "protocol": protocol, **changes}},
            "methods": {"joint": {}},
        }
    )


def test_every_protocol_has_a_row() -> None:
    assert set(PROTOCOLS) == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_protocol_alone_is_a_whole_dataset(name: str) -> None:
    rule, sound, frames, epochs, batch, optimizer, rate, schedule, drop = ROWS[name]
    params = params_of(name)
    dataset, model, training = params.dataset("d"), params.model_of("d"), params.training_of("d")
    shapes = {modality: kind_of(feature).shape(feature) for modality, feature in dataset.modalities.items()}
    assert dataset.protocol == name and dataset.split.rule == rule
    assert shapes == {"audio": (1, *sound), "visual": (3, frames, 256, 256)}
    assert (model.width, model.layers, model.fusion, model.weights) == (64, (2, 2, 2, 2), "concat", None)
    assert (training.epochs, training.batch_size, training.optimizer.name, training.optimizer.lr) == (
        epochs,
        batch,
        optimizer,
        rate,
    )
    assert training.schedule.name == schedule and (schedule == "constant" or training.schedule.step == drop)
    assert training.augment.crop == training.augment.flip == (name != "dr")


def test_d_r_s_parts_have_its_sizes() -> None:
    """On 6,698 and 744 clips in the classes' published proportions (methods.md 23.1)."""
    train = {"ANG": 1166, "DIS": 1142, "FEA": 1138, "HAP": 1148, "NEU": 973, "SAD": 1131}
    test = {"ANG": 105, "DIS": 129, "FEA": 133, "HAP": 123, "NEU": 114, "SAD": 140}
    lists = {
        "train": {f"a{label}{i}": label for label, n in train.items() for i in range(n)},
        "test": {f"b{label}{i}": label for label, n in test.items() for i in range(n)},
    }
    samples = [
        Sample(id=name, label=label, paths={}, group="1") for part in lists.values() for name, label in part.items()
    ]
    listing = Listing(tuple(train), samples, {part: frozenset(names) for part, names in lists.items()})
    split = list(assign(listing, params_of("dr").dataset("d").split, "d").values())
    counts = [split.count(part) for part in SPLITS]
    assert counts[2] == 744 and abs(counts[1] - 744) <= 6 and sum(counts) == 7442


def test_what_the_user_says_goes_above_a_protocol() -> None:
    params = params_of("honest", split={"fold": 2}, training={"epochs": 7})
    assert (params.dataset("d").split.fold, params.dataset("d").split.rule, params.training_of("d").epochs) == (
        2,
        "actor",
        7,
    )
    assert params.training_of("d").schedule.step == 70


def test_an_unknown_protocol_lists_the_valid_ones() -> None:
    with pytest.raises(UserError, match="protocol 'ogn' is unknown; valid: custom, aug, bench, dr, honest, mla, ogm"):
        params_of("ogn")
