"""Models of this project diagnosed on their own held-out data."""

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_dataset
from equimodal.engines.layout import manifest_path, model_folder
from equimodal.errors import UserError
from equimodal.inference.model import load
from equimodal.stages import diagnose, train
from equimodal.stages.setup import Setup
from equimodal.store import read_json, write_json
from typed import typed

PATH = model_folder("tiny", "joint", 0) / "val.safetensors"


@pytest.mark.parametrize("third", [False, True, ("text", "face", "facts")])
def test_what_is_exposed_is_the_model(tiny: Path, third: Any) -> None:
    tiny_dataset.write(tiny, third=third)
    params = tiny_dataset.params(third)
    train.run(params, "tiny", "joint", 0)
    model = load(PATH).members[0]
    exposed = diagnose.Exposed(model).eval()
    setup = Setup.open(params, "tiny", "joint", 0)
    inputs, _ = next(setup.data.evaluation_batches("test", 8))
    with torch.no_grad():
        assert torch.equal(exposed(inputs), model.predict(inputs).logits)
    report = diagnose.run(PATH, "test", None, None, 16)
    assert report.modalities == tiny_dataset.names(third)
    assert report.samples == setup.data.count("test")
    assert {"readout", "logit-share"} <= {measure.name for measure in report.measures}
    depths = {name: len(encoder.blocks) for name, encoder in model.encoders.items()}
    assert {name: len(layers) for name, layers in exposed.layers().items()} == depths


def test_a_readout_is_that_of_evaluation(tiny: Path) -> None:
    """The encoders' features at zero: evaluation's readout `zero-feature`."""
    from equimodal.stages import evaluate

    params = tiny_dataset.params()
    train.run(params, "tiny", "joint", 0)
    evaluate.run(params, "tiny", "joint", 0)
    wanted = read_json(PATH.with_name("evaluation.json"))["selection"]["val"]["test"]
    report = diagnose.run(PATH, "test", None, None, 16)
    assert report.full.value == pytest.approx(wanted["accuracy"])
    (readout,) = [measure for measure in report.measures if measure.name == "readout"]
    found = {entry.of: entry.estimate.value for entry in readout.entries}
    assert found == pytest.approx(wanted["modalities"]["zero-feature"])


def test_what_it_refuses(tiny: Path) -> None:
    params = tiny_dataset.params()
    train.run(params, "tiny", "joint", 0)
    train.run(params, "tiny", "audio", 0)
    with pytest.raises(UserError, match="is a model of audio alone"):
        diagnose.run(model_folder("tiny", "audio", 0) / "val.safetensors", "test", None, None, 16)
    with pytest.raises(UserError, match="has no model of seed 7"):
        diagnose.run(PATH, "test", None, 7, 16)
    manifest = read_json(manifest_path("tiny"))
    write_json(manifest_path("tiny"), {**manifest, "digest": "other"})
    with pytest.raises(UserError, match="describes other data than"):
        diagnose.run(PATH, "test", None, None, 16)
    manifest_path("tiny").unlink()
    with pytest.raises(UserError, match="is missing: run this in the folder where tiny was prepared"):
        diagnose.run(PATH, "test", None, None, 16)


def test_the_command(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train.run(tiny_dataset.params(), "tiny", "joint", 0)
    files = ("--html", "d.html", "--json", "d.json")
    status, said, _ = typed(capfd, "diagnose", str(PATH), "--measures", "permutation,zero", *files)
    assert status == 0
    assert said.startswith("Diagnosis of joint on tiny (seed 0, trained on a GENERATED SAMPLE): audio, visual")
    assert [measure["name"] for measure in read_json(Path("d.json"))["measures"]] == ["permutation", "zero"]
    assert "<svg" in Path("d.html").read_text()
