"""Which encoder a modality gets, and which settings of `model` a dataset's results depend on."""

import copy
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import tiny_dataset
from equimodal.engines import declarations
from equimodal.engines.layout import model_folder
from equimodal.errors import UserError
from equimodal.models.registry import ENCODERS, KIND_OF_RANK, Entry, choose
from equimodal.params import parse_params
from equimodal.settings.training import ModelSettings
from equimodal.stages import prototypes, train, warmup
from equimodal.store import canonical_json, read_json, read_tensors


def test_every_encoder_builds_from_a_shape_of_each_kind_that_it_reads() -> None:
    shapes = {
        "vector": (5,),
        "sequence": (6, 5),
        "spectrogram": (1, 16, 16),
        "frames": (3, 2, 16, 16),
        "flow": (2, 2, 16, 16),
    }
    assert set(KIND_OF_RANK.values()) <= set(shapes)
    small = ModelSettings(width=4, layers=(1, 1, 1, 1))
    for name, entry in ENCODERS.items():
        assert all(key in ModelSettings.model_fields for key in entry.keys), name
        for kind in entry.kinds:
            encoder = entry.load().build(shapes[kind], kind, small, channels_last=True)
            assert len(encoder.blocks) == len(encoder.dims)


def test_kinds_of_features_have_their_encoders_and_overrides_are_checked() -> None:
    kinds = {"audio": "spectrogram", "text": "sequence", "facts": "vector"}
    assert choose(kinds, {"elsewhere": "mlp"}) == {"audio": "resnet", "text": "transformer", "facts": "mlp"}
    with pytest.raises(
        UserError, match=r"model.encoders.text = 'lstm' is an unknown encoder; valid: resnet, transformer, mlp"
    ):
        choose(kinds, {"text": "lstm"})
    with pytest.raises(
        UserError,
        match=r"model.encoders.text = 'resnet' does not read features of kind sequence; these do: transformer",
    ):
        choose(kinds, {"text": "resnet"})


def test_params_yaml_is_checked_for_encoders() -> None:
    with pytest.raises(UserError, match=r"model.encoders.audio = 'mlp' does not read features of kind spectrogram"):
        tiny_dataset.params(model={"encoders": {"audio": "mlp"}})
    with pytest.raises(UserError, match=r"datasets.tiny.model.encoders names 'txt'; tiny has: audio, visual"):
        tiny_dataset.params(datasets={"tiny": {"model": {"encoders": {"txt": "mlp"}}}})
    with pytest.raises(UserError, match=r"model.transformer = .*: width \(10\) must be a multiple of heads \(4\)"):
        tiny_dataset.params(model={"transformer": {"width": 10, "heads": 4}})


@pytest.fixture(scope="module")
def raw(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "params.yaml").read_text())


def test_slices_of_datasets_without_sequences_are_what_they_were_before_there_were_any(raw: dict[str, Any]) -> None:
    """Their results stay valid: to the byte what results made with resnets alone were made by."""
    before = {
        "cremad": '{"frames":"fold","fusion":"concat","init":"ogm",'
        '"layers":[1,1,1,1],"stem_pool":false,"stem_stride":2,"width":8}',
        "grid-words": '{"frames":"stack","fusion":"concat","init":"ogm",'
        '"layers":[1,1,1,1],"stem_pool":false,"stem_stride":2,"width":8}',
    }
    for changes in ({}, {"transformer": {"layers": 5}, "mlp": {"width": 3}, "encoders": {"text": "transformer"}}):
        changed = copy.deepcopy(raw)
        changed["model"] |= changes
        params = parse_params(changed)
        for dataset, text in before.items():
            assert canonical_json(params.model_slice(dataset)) == text
            assert canonical_json(declarations.settings(params, "train", dataset, "joint")["model"]) == text


def test_a_dataset_depends_on_the_encoders_that_it_uses() -> None:
    text, both = tiny_dataset.params(["text", "face"]), tiny_dataset.params(["audio", "facts"])
    assert set(text.model_slice("tiny")) == {"fusion", "init", "transformer"}
    assert set(both.model_slice("tiny")) == {
        "fusion",
        "init",
        "mlp",
        "width",
        "layers",
        "frames",
        "stem_stride",
        "stem_pool",
    }
    explicit = tiny_dataset.params(["text", "face"], model={"encoders": {"text": "transformer"}})
    assert explicit.model_slice("tiny") == text.model_slice("tiny")  # the default, said aloud


def test_code_of_the_encoders_in_use_is_code_of_the_stages_that_build_models() -> None:
    def names(modalities: list[str], stage: str) -> set[str]:
        files = declarations.code(
            tiny_dataset.params(modalities), stage, "tiny", "joint" if stage in ("train", "evaluate") else "aim"
        )
        return {Path(file).stem for file in files if "/models/" in file} & {"resnet", "transformer", "mlp"}

    for stage in ("warmup", "prototypes", "train", "evaluate"):
        assert names(["text", "face"], stage) == {"transformer"}
        assert names(["audio", "facts"], stage) == {"resnet", "mlp"}


def test_an_encoder_of_ones_own_is_one_file_and_one_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/examples/own_encoder.py as a module of the package and an entry of the registry,
    trained by AIM through the stages.
    """
    spec = importlib.util.spec_from_file_location("equimodal.models.conv", root / "docs/examples/own_encoder.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "equimodal.models.conv", module)
    monkeypatch.setitem(ENCODERS, "conv", Entry("conv:Convolution", ("sequence",), ("transformer",)))
    # The stages ask for the code files of what they run, and this one is not in the package's folder.
    monkeypatch.setattr("equimodal.stages.running.encoder_modules", lambda params, dataset: [])
    names = ["text", "face"]
    params = tiny_dataset.params(names, model={"encoders": {"face": "conv"}})
    assert params.model_slice("tiny")["encoders"] == {"face": "conv"}
    tiny_dataset.write(tmp_path, names)
    monkeypatch.chdir(tmp_path)
    for stage in (warmup, prototypes, train):
        stage.run(params, "tiny", "aim", 0)
    trained, _ = read_tensors(model_folder("tiny", "aim", 0) / "last.safetensors")
    assert trained["encoders.face.layers.1.conv.weight"].shape == (8, 8, 3)
    metrics = read_json(model_folder("tiny", "aim", 0) / "curves.json")["epochs"][-1]["metrics"]
    assert {"depth2/face/s_aux", "depth2/text/s_aux"} <= set(metrics) and "depth3/text/s" not in metrics
