"""The mean prediction of models of one modality by NumPy, and that nothing is trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_dataset
from equimodal.engines.layout import model_folder
from equimodal.methods.base import SplitFeatures
from equimodal.models.framework import MultimodalModel
from equimodal.params import Params
from equimodal.stages import evaluate, train
from equimodal.stages.setup import Setup
from equimodal.store import read_json, read_tensors
from equimodal.training.measure import predict
from tiny_method import alone, loop_of, opened, unimodal_models

CASES = [False, True, ("text", "face", "facts")]


def params(third: bool | tuple[str, ...] = False, **overrides: Any) -> Params:
    return tiny_dataset.params(third, methods={**alone(third), "ensemble": {}}, **overrides)


def trained(own: Params) -> tuple[Setup, MultimodalModel]:
    """The exported model, after its run."""
    unimodal_models(own)
    train.run(own, "tiny", "ensemble", 0)
    setup = Setup.open(own, "tiny", "ensemble", 0)
    tensors, meta = read_tensors(model_folder("tiny", "ensemble", 0) / "val.safetensors")
    model = setup.model(meta["structure"])
    model.load_state_dict(tensors)
    return setup, model


def by_modality(own: Params) -> dict[str, SplitFeatures]:
    """What each model of one modality says of the test split."""
    found = {}
    for modality, name in own.unimodal_of("tiny").items():
        setup = Setup.open(own, "tiny", name, 0)
        model = setup.model()
        model.load_state_dict(unimodal_models(own)[modality])
        found[modality] = predict(model, setup.data, "test", 32)
    return found


@pytest.mark.parametrize("third", CASES)
def test_logits_are_the_log_of_the_mean_probability(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    own = params(third)
    setup, model = trained(own)
    found, each = predict(model, setup.data, "test", 32), by_modality(own)
    p = []
    for modality, one in each.items():
        assert torch.equal(found.readouts[modality], one.logits)
        powers = np.exp(one.logits.double().numpy())
        p.append(powers / powers.sum(1, keepdims=True))
    np.testing.assert_allclose(found.logits.double().exp().numpy(), np.mean(p, 0), rtol=1e-4, atol=1e-6)
    if not third:
        evaluate.run(own, "tiny", "ensemble", 0)
        selection = read_json(model_folder("tiny", "ensemble", 0) / "evaluation.json")["selection"]
        right = (np.mean(p, 0).argmax(1) == found.labels.numpy()).mean()
        assert all(chosen["test"]["accuracy"] == pytest.approx(right) for chosen in selection.values())


def test_large_logits_do_not_overflow(tiny: Path) -> None:
    method, _ = opened(params(), "ensemble")
    linears = method.model.fusion.linears  # type: ignore[union-attr]
    with torch.no_grad():
        for scale, linear in zip((1e4, 1.0), linears.values(), strict=True):  # type: ignore[union-attr,operator]
            linear.weight.zero_()
            linear.bias.copy_(scale * torch.tensor([1.0, 0.0, -1.0]))
        features = {name: torch.zeros(1, width) for name, width in method.model.fusion.dims.items()}  # type: ignore[union-attr]
        p = method.model.fuse(features).exp()[0]
    alone = np.exp([1.0, 0.0, -1.0]) / np.exp([1.0, 0.0, -1.0]).sum()
    np.testing.assert_allclose(p.numpy(), (np.array([1.0, 0.0, 0.0]) + alone) / 2, rtol=1e-5)


def test_a_regression_is_the_mean_of_the_predictions(tiny: Path) -> None:
    own = tiny_dataset.write_regression(tiny, methods={"ensemble": {}})
    setup, model = trained(own)
    found, each = predict(model, setup.data, "test", 32), by_modality(own)
    assert found.logits.shape == (24, 1)
    mean = np.mean([one.logits.numpy() for one in each.values()], 0)
    np.testing.assert_allclose(found.logits.numpy(), mean, rtol=1e-5, atol=1e-6)


def test_one_epoch_measures_and_nothing_moves(tiny: Path) -> None:
    own = params()
    models = unimodal_models(own)
    train.run(own, "tiny", "ensemble", 0)
    folder = model_folder("tiny", "ensemble", 0)
    for rule in ("val", "last", "test"):
        tensors, _ = read_tensors(folder / f"{rule}.safetensors")
        for name, state in models.items():
            for key, value in state.items():
                assert torch.equal(tensors[key.replace("fusion.linear", f"fusion.linears.{name}")], value)
        assert len(tensors) == sum(map(len, models.values()))
    (entry,) = read_json(folder / "curves.json")["epochs"]
    assert entry["epoch"] == 0 and entry["metrics"]["train/loss"] > 0 and 0 < entry["metrics"]["train/accuracy"] <= 1


def test_steps_are_none(tiny: Path) -> None:
    own = params()
    loop = loop_of("steps", own, "ensemble")
    loop.method.load_unimodal(unimodal_models(own))
    assert not any(part.training for part in loop.method.train().modules())
    step = loop.method.training_step(next(loop.batches(0)), loop)
    assert not step.loss.requires_grad and not step.logits.requires_grad
    loop.run()
    assert not loop.plain_optimizer.state_dict()["state"]
    assert all(parameter.grad is None for parameter in loop.method.parameters())
    again = loop_of("steps", own, "ensemble")
    again.method.load_unimodal(unimodal_models(own))
    assert again.resume() and again.run() == loop.progress
