"""`base` of a dataset: what a variant takes over, what it changes, what it takes away, and what is refused."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from equimodal.datasets.cremad.protocols import PROTOCOLS
from equimodal.errors import UserError
from equimodal.params import Params, parse_params
from equimodal.params.bases import with_bases
from small_datasets import CREMAD, MODALITIES

BASE: dict[str, Any] = {
    **CREMAD,
    "modalities": {**MODALITIES, "second": {"kind": "frames", "n": 1, "size": [16, 16]}},
    "model": {"layers": [1, 1, 1, 1]},
    "training": {"epochs": 9, "optimizer": {"lr": 0.3, "name": "adam"}},
    "methods": {"joint-uni": {"weight": 0.5}},
}


def with_variants(**variants: dict[str, Any]) -> Params:
    """Params with the dataset `d` and variants."""
    return parse_params(
        {
            "study": {"datasets": ["d"], "from-scratch": ["joint"], "from-warmup": [], "seeds": [0]},
            "datasets": {**variants, "d": copy.deepcopy(BASE)},  # a base may stand below its variants
            "methods": {"joint": {}, "joint-uni": {}},
        }
    )


def test_a_variant_is_its_base_but_for_what_it_says() -> None:
    params = with_variants(
        v={
            "base": "d",
            "split": {"fold": 1},
            "modalities": {"visual": {"n": 1}, "last": {"kind": "frames"}},
            "training": {"optimizer": {"lr": 0.1}},
            "model": {"layers": [2, 1, 1, 1]},
        }
    )
    base, variant = params.dataset("d").slice(), params.dataset("v").slice()
    assert {key for key in base if base[key] != variant[key]} == {"split", "modalities", "training", "model"}
    assert variant["split"] == {**base["split"], "fold": 1}
    assert list(variant["modalities"]) == ["audio", "visual", "second", "last"]
    assert variant["modalities"]["visual"] == {**base["modalities"]["visual"], "n": 1}
    assert params.training_of("v").optimizer.slice() == {**params.training_of("d").optimizer.slice(), "lr": 0.1}
    assert (params.training_of("v").epochs, params.model_of("v").layers) == (9, (2, 1, 1, 1))
    assert params.method("v", "joint-uni").settings.slice()["weight"] == 0.5
    assert "base" not in variant  # no stage depends on where a value is written


def test_a_base_may_have_a_base() -> None:
    params = with_variants(
        v={"base": "d", "training": {"epochs": 5}}, w={"base": "v", "training": {"batch_size": 8}, "split": {"fold": 2}}
    )
    training = params.training_of("w")
    assert (training.epochs, training.batch_size, training.optimizer.lr) == (5, 8, 0.3)
    assert (params.dataset("w").split.fold, params.dataset("v").split.fold) == (2, 0)


def test_null_takes_a_section_away_and_is_a_value_elsewhere() -> None:
    params = with_variants(
        v={"base": "d", "modalities": {"second": None, "audio": {"mel_bins": None}}, "training": None, "methods": None}
    )
    assert list(params.dataset("v").modalities) == ["audio", "visual"]
    assert params.dataset("v").modalities["audio"].slice()["mel_bins"] is None
    assert params.training_of("v") == params.training
    assert params.dataset("v").methods == {}


def test_a_modality_of_another_kind_replaces_the_base_s() -> None:
    params = with_variants(v={"base": "d", "modalities": {"second": {"kind": "spectrogram", "mel_bins": 4}}})
    assert params.dataset("v").modalities["second"].slice() == {
        **params.dataset("v").modalities["audio"].slice(),
        "mel_bins": 4,
    }


def test_a_protocol_or_preset_that_a_variant_names_goes_over_its_base() -> None:
    params = with_variants(
        v={"base": "d", "protocol": "ogm", "training": {"epochs": 2}},
        w={"base": "d", "modalities": {"audio": {"preset": "fbank", "mel_bins": 64}}},
    )
    data, training = params.dataset("v"), params.training_of("v")
    assert (data.split.rule, data.modalities["audio"].slice()["frames"]) == ("ogm", 188)
    assert (training.epochs, training.optimizer.lr) == (2, PROTOCOLS["ogm"]["training"]["optimizer"]["lr"])
    audio = params.dataset("w").modalities["audio"].slice()
    assert (audio["frames"], audio["mel_bins"]) == (1024, 64)


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ({"v": {"base": "dd"}}, "params.yaml: datasets.v.base = 'dd' is an unknown dataset; did you mean 'd'?"),
        ({"v": {"base": 3}}, "params.yaml: datasets.v.base = 3 is an unknown dataset; valid keys: d, v"),
        ({"v": {"base": "v"}}, "params.yaml: datasets.v.base goes round in a circle: v -> v"),
        (
            {"v": {"base": "w"}, "w": {"base": "v"}},
            "params.yaml: datasets.v.base goes round in a circle: v -> w -> v",
        ),
        ({"v": {"base": "d", "kind": "ks"}}, "datasets.v.kind = 'ks', but its base d is of kind cremad"),
        ({"v": {"base": "w"}, "w": None}, "params.yaml: datasets.w = None: should be a section"),
        ({"v": {"base": "d", "trainin": {}}}, "unknown key datasets.v.trainin; did you mean 'training'?"),
        ({"v": {"base": "d", "modalities": {"audio": {"mel_bin": 3}}}}, "mel_bin; did you mean 'mel_bins'?"),
        ({"v": {"base": "d", "training": {"epoch": 3}}}, "datasets.v.training.epoch; did you mean 'epochs'?"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(variants: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        params = with_variants(**variants)
        assert list(params.datasets) == ["d"]  # which no variant's mistake concerns
        params.dataset("v")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_schema_takes_variants_and_refuses_unknown_keys(root: Path) -> None:
    schema = json.loads((root / "workflow/schemas/params.schema.json").read_text())
    raw = yaml.safe_load((root / "params.yaml").read_text())
    validator = jsonschema.Draft202012Validator(schema)

    def accepted(**entry: Any) -> bool:
        return validator.is_valid({**raw, "datasets": {**raw["datasets"], "v": entry}})

    assert accepted(base="cremad", modalities={"audio": None, "visual": {"n": 1}}, training=None, split={"fold": 1})
    assert accepted(base="mosi-regression", regression={"threshold": 1}, protocol="raw")
    assert not accepted(training={"epochs": 3})  # neither base nor kind
    assert not accepted(base=3)
    wrong: dict[str, Any]
    for wrong in ({"trainin": {}}, {"training": {"epoch": 3}}, {"modalities": {"audio": {"mel_bin": 3}}}):
        assert not accepted(base="cremad", **wrong)


def test_a_start_epoch_that_leaves_none_is_refused_where_the_pair_is_asked_for(root: Path) -> None:
    raw = yaml.safe_load((root / "params.yaml").read_text())
    raw["datasets"]["grid-words-clean"]["training"] = {"epochs": 3}
    params = parse_params(raw)  # the dataset is not in the study, and joint training of it is possible
    params.check_pair("grid-words-clean", "joint")
    with pytest.raises(UserError, match="start_epoch = 3 leaves no epoch for modulation: grid-words-clean trains 3"):
        params.check_pair("grid-words-clean", "aim")


def test_the_shipped_variants_are_what_they_are_called(root: Path) -> None:
    datasets = with_bases(yaml.safe_load((root / "params.yaml").read_text())["datasets"])
    words, clean, scores = (datasets[name] for name in ("grid-words", "grid-words-clean", "mosi-regression"))
    assert {**clean, "base": None, "modalities": {}} == {**words, "base": None, "modalities": {}}
    assert clean["modalities"]["audio"] == {**words["modalities"]["audio"], "noise_snr_db": 0}
    only = {"base": "mosi", "task": scores["task"], "regression": scores["regression"]}
    assert scores == {**datasets["mosi"], **only}
