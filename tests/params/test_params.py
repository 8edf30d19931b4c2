"""params.yaml: complete, described, and every mistake one line that names the key."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from equimodal.datasets.cremad.settings import CremadSettings
from equimodal.errors import UserError
from equimodal.methods.aim.settings import AIMSettings
from equimodal.params import load_params, parse_params
from equimodal.params.generated import with_methods
from equimodal.params.schema import params_schema
from equimodal.settings.training import ModelSettings, RuntimeSettings, TrackingSettings, TrainingSettings
from small_datasets import CREMAD, params_of


@pytest.fixture(scope="module")
def raw(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "params.yaml").read_text())


def broken(raw: dict[str, Any], path: str, value: Any) -> str:
    """The message for params.yaml with one value changed."""
    changed = copy.deepcopy(raw)
    *parents, last = path.split("/")
    place = changed
    for part in parents:
        place = place.setdefault(part, {})
    place[last] = value
    with pytest.raises(UserError) as caught:
        params = parse_params(changed)
        for name in params.broken:
            params.dataset(name)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("trainin", {}, "unknown key trainin; did you mean 'training'?"),
        ("training/epoch", 3, "unknown key training.epoch; did you mean 'epochs'?"),
        ("training/optimizer/learning_rate", 3, "unknown key training.optimizer.learning_rate"),
        ("runtime/thread", 3, "unknown key runtime.thread; did you mean 'threads'?"),
        ("tracking/url", "x", "unknown key tracking.url; did you mean 'uri'?"),
        ("datasets/cremad/modalities/audio/mel_bin", 3, "mel_bin; did you mean 'mel_bins'?"),
        ("datasets/cremad/training/epoch", 3, "datasets.cremad.training.epoch; did you mean 'epochs'?"),
        ("datasets/cremad/model/wide", 3, "datasets.cremad.model.wide"),
        ("datasets/cremad/methods/aim/tua", 3, "tua; did you mean 'tau'?"),
        ("datasets/cremad/methods/aimm", {}, "datasets.cremad.methods.aimm is not in `methods`; did you mean 'aim'?"),
        ("methods/aim/lambda", 3, "unknown key methods.aim.lambda"),
        ("methods/aim/pdm/evry", 3, "methods.aim.pdm.evry; did you mean 'every'?"),
        ("training/epochs", "many", "training.epochs = 'many'"),
        ("training/epochs", 0, "training.epochs = 0"),
        ("training/optimizer/lr", -1, "training.optimizer.lr = -1"),
        ("runtime/precision", "fp8", "runtime.precision = 'fp8'"),
        ("datasets/cremad/kind", "cremat", "datasets.cremad"),
        ("datasets/cremad/split/fold", 5, "fold (5) must be below folds (5)"),
        (
            "datasets/cremad/methods/aim/start_epoch",
            15,
            "start_epoch = 15 leaves no epoch for modulation: cremad trains 15",
        ),
        ("methods/aim-x", {"base": "aim-y"}, "methods.aim-x.base = 'aim-y' is an unknown method"),
        ("methods/aim-x", {"base": "aim-x"}, "goes round in a circle"),
        ("methods/aim-x", {"base": 3}, "methods.aim-x.base = 3 is an unknown method"),
        ("methods/aim", None, "methods.aim = None: should be a section"),
        ("methods/aim/tau", "x", "methods.aim.tau = 'x'"),
        ("training/optimizer", "sgd", "training.optimizer = 'sgd': should be a section"),
        ("training/augment/crop_scale", [0.9, 0.5], "crop_scale (0.9, 0.5) must be two shares"),
        ("datasets/cremad/split/folde", 1, "unknown key datasets.cremad.split.folde; did you mean 'fold'?"),
        ("datasets/cremad/source", "lokal", "params.yaml: datasets.cremad.source = 'lokal'"),
        (
            "datasets/grid-words/columns/lable",
            "x",
            "unknown key datasets.grid-words.columns.lable; did you mean 'label'?",
        ),
        ("datasets/grid-words/table", 3, "params.yaml: datasets.grid-words.table = 3"),
        (
            "methods/audio",
            {"base": "unimodal", "modality": "sound"},
            "reads modality 'sound' (methods.audio.modality); cremad has: audio, visual",
        ),
        ("study/warmups", ["aim", "nothing"], "unknown method 'nothing'"),
        ("study/fits", ["joint", "aim"], "study.fits lists 'joint', which is trained from scratch"),
        ("methods/other", {}, "methods.other is not a registered method: name its `base`"),
        ("methods/aim_x", {"base": "aim"}, "methods.aim_x"),
        (
            "methods/aim-x",
            {"base": "aim", "preset": "litteral"},
            "methods.aim-x.preset = 'litteral' is unknown; valid: fast, literal",
        ),
        ("study/datasets", ["cremat"], "unknown dataset 'cremat'"),
        ("study/datasets", [], "study.datasets"),
        ("study/seeds", [0, 0], "study.seeds names something twice"),
        ("study/from-scratch", ["aim"], "study.from-scratch lists 'aim', which belongs in study.from-warmup"),
        ("study/from-scratch", ["joynt"], "unknown method 'joynt'"),
        ("study/fits", [], "study.from-warmup lists 'aim', which needs 'aim' in study.fits"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(raw: dict[str, Any], path: str, value: Any, said: str) -> None:
    assert said in broken(raw, path, value)


@pytest.mark.parametrize(("text", "said"), [("a: [", "not valid YAML"), ("", "empty"), ("- a", "not a mapping")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        load_params(tmp_path / "params.yaml")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes("# für Übungen\n".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8 text"):
        load_params(tmp_path / "params.yaml")


def test_what_is_no_file_of_settings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(UserError, match=r"params\.yaml cannot be read: Is a directory"):
        load_params(tmp_path / "params.yaml")
    with pytest.raises(UserError, match="/dev/zero has more than 262,144 characters"):
        load_params("/dev/zero")


def test_a_method_without_a_warm_up_says_so(raw: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="joint has no warm-up and no prototypes"):
        parse_params(raw).warmup_of("cremad", "joint")


@pytest.mark.parametrize(
    ("section", "model"),
    [
        ("runtime", RuntimeSettings),
        ("tracking", TrackingSettings),
        ("model", ModelSettings),
        ("training", TrainingSettings),
    ],
)
def test_params_lists_every_key_of_a_section(raw: dict[str, Any], section: str, model: type[BaseModel]) -> None:
    assert list(raw[section]) == list(model.model_fields)
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert set(raw[section][name]) <= set(field.annotation.model_fields)


def test_params_lists_every_key_of_aim_at_its_default(raw: dict[str, Any]) -> None:
    fields = dict(AIMSettings.model_fields)
    del fields["preset"]
    assert list(raw["methods"]["aim"]) == list(fields)
    assert AIMSettings.model_validate(raw["methods"]["aim"]) == AIMSettings()
    for section in ("dap", "pdm"):
        assert list(raw["methods"]["aim"][section]) == list(type(getattr(AIMSettings(), section)).model_fields)


def test_variants_differ_from_their_base_by_what_they_name(root: Path) -> None:
    params = load_params(root / "params.yaml")
    full, without = (
        params.method("cremad", "aim").settings.slice(),
        params.method("cremad", "aim-no-pam").settings.slice(),
    )
    assert {key for key in full if full[key] != without[key]} == {"pam"}
    assert full["start_epoch"] == 3, "the dataset's override"
    assert without["start_epoch"] == 3, "inherited through the base"
    for variant in ("aim-no-pam", "aim-no-dam", "aim-label", "aim-aux-only"):
        assert (params.warmup_of("cremad", variant), params.fit_of("cremad", variant)) == ("aim", "aim")
    assert params.fit_of("cremad", "aim-literal") == "aim-literal"


def test_every_dataset_and_method_resolves(root: Path) -> None:
    params = load_params(root / "params.yaml")
    for dataset in params.datasets:
        for method in params.methods:
            assert params.method(dataset, method).name == method


def test_the_schema_is_the_models_and_accepts_params(root: Path, raw: dict[str, Any]) -> None:
    written = json.loads((root / "workflow/schemas/params.schema.json").read_text())
    assert written == json.loads(json.dumps(params_schema())), "out of date: run `equimodal schema`"
    validator = jsonschema.Draft202012Validator(written)
    validator.check_schema(written)
    assert not list(validator.iter_errors(raw))
    for section, key in (("training", "epoch"), ("runtime", "thread")):
        assert list(validator.iter_errors({**raw, section: {**raw[section], key: 1}}))
    assert list(validator.iter_errors({**raw, "methods": {"aim": {"tua": 1}}}))


def test_a_protocol_fills_in_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    published = {"two-folds": {"split": {"folds": 2, "fold": 1}, "training": {"epochs": 7, "batch_size": 8}}}
    monkeypatch.setattr(CremadSettings, "protocols", published)
    named = {**CREMAD, "protocol": "two-folds", "split": {"rule": "actor", "fold": 0}}
    resolved = params_of({**named, "training": {"batch_size": 16}})
    assert (resolved.dataset("d").split.folds, resolved.dataset("d").split.fold) == (2, 0)
    assert (resolved.training_of("d").epochs, resolved.training_of("d").batch_size) == (7, 16)
    with pytest.raises(UserError, match=r"datasets.d.*protocol 'two-fold' is unknown; valid: custom, two-folds"):
        params_of({**named, "protocol": "two-fold"})


def test_the_readme_s_list_of_methods_is_the_registry_s(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    assert with_methods(text) == text, "make generated"


def test_every_key_of_the_schema_says_what_it_means() -> None:
    schema = params_schema()

    def told(value: dict[str, Any]) -> bool:
        if "description" in value:
            return True
        if "$ref" in value:  # a section: its own words
            return told(schema["$defs"][value["$ref"].rpartition("/")[2]])
        ways = [way for name in ("anyOf", "oneOf", "allOf") for way in value.get(name, [])]
        return bool(ways) and all(map(told, ways))

    sections = {**schema["$defs"], "params.yaml": schema}
    silent = [
        f"{name}.{key}"
        for name, part in sections.items()
        for key, value in part["properties"].items()
        if not told(value)
    ]
    assert silent == []
