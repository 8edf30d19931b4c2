"""The baselines by their formulas: joint, joint-uni, unimodal."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

import tiny_dataset
from equimodal.errors import UserError
from equimodal.methods.base import Batch, Method
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.store import read_json
from tiny_method import learned, opened


def made(name: str, **overrides: Any) -> tuple[Method, Batch]:
    return opened(tiny_dataset.params(**overrides), name, samples=8)


def test_joint_is_cross_entropy_on_the_fused_logits(tiny: Path) -> None:
    method, batch = made("joint")
    step = method(batch)
    logits = method.model(batch.inputs).logits
    assert (
        torch.equal(step.logits, logits)
        and torch.equal(step.loss, functional.cross_entropy(logits, batch.labels))
        and step.logs == {}
    )


@pytest.mark.parametrize("fusion", ["concat", "sum", "film", "gated"])
def test_joint_uni_adds_each_readouts_cross_entropy(tiny: Path, fusion: str) -> None:
    method, batch = made("joint-uni", methods={"joint-uni": {"weight": 0.7}}, model={"fusion": fusion})
    out = method.model(batch.inputs)
    alone = method.model.readout(out.features)
    expected = functional.cross_entropy(out.logits, batch.labels) + 0.7 * sum(
        functional.cross_entropy(u, batch.labels) for u in alone.values()
    )
    torch.testing.assert_close(method(batch).loss, expected)
    assert len(alone) == 2


def test_joint_uni_of_weight_zero_is_joint_bit_for_bit(tiny: Path) -> None:
    params = tiny_dataset.params(methods={"joint-uni": {"weight": 0.0}}, training={"epochs": 2})
    for name in ("joint", "joint-uni"):
        train.run(params, "tiny", name, 0)
    for file in ("val", "last", "test"):
        assert learned(Path(f"models/tiny/joint/0/{file}.safetensors")) == learned(
            Path(f"models/tiny/joint-uni/0/{file}.safetensors")
        )
    curves = [read_json(Path(f"models/tiny/{name}/0/curves.json")) for name in ("joint", "joint-uni")]
    assert curves[0]["epochs"] == curves[1]["epochs"]


def test_a_unimodal_model_has_one_encoder_and_its_own_classifier(tiny: Path) -> None:
    method, batch = made("visual")
    assert method.model.modalities == ["visual"] and list(batch.inputs) == ["visual"]
    out = method.model(batch.inputs)
    linear = method.model.fusion.linear
    torch.testing.assert_close(out.logits, functional.linear(out.features["visual"], linear.weight, linear.bias))
    torch.testing.assert_close(method.model.readout(out.features)["visual"], out.logits)


@pytest.mark.parametrize("fusion", ["sum", "film", "gated"])
def test_a_unimodal_model_is_the_same_whatever_the_fusion_of_others(tiny: Path, fusion: str) -> None:
    written = []
    for overrides in ({}, {"model": {"fusion": fusion}}):
        train.run(tiny_dataset.params(training={"epochs": 2}, **overrides), "tiny", "audio", 0)
        written.append(learned(Path("models/tiny/audio/0/last.safetensors")))
    assert written[0] == written[1]


@pytest.mark.parametrize("fusion", ["film", "gated"])
def test_a_fusion_of_two_refuses_three_in_one_line(tiny: Path, fusion: str) -> None:
    tiny_dataset.write(tiny, third=True)
    params = tiny_dataset.params(third=True, model={"fusion": fusion})
    with pytest.raises(UserError, match=rf"model.fusion = {fusion} is defined for two modalities, not 3"):
        Setup.open(params, "tiny", "joint", 0).method()
    assert Setup.open(params, "tiny", "audio", 0).method().model.modalities == ["audio"]


def test_a_modality_that_the_dataset_lacks_is_one_line(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"reads modality 'motion'.* has: audio, visual"):
        made("visual", methods={"visual": {"modality": "motion"}})


def test_methods_of_one_seed_start_from_the_same_weights(tiny: Path) -> None:
    first = made("joint")[0].model.state_dict()
    for name in ("joint-uni", "aim"):
        other = made(name)[0].model.state_dict()
        assert all(torch.equal(first[key], other[key]) for key in first)
