"""A head on frozen encoders: the encoders do not move, the head learns by the formula."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tiny_dataset
from equimodal.engines.layout import model_folder
from equimodal.methods.base import Batch, Method
from equimodal.params import Params
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.stages.steps import Steps
from equimodal.store import read_tensors
from equimodal.training.loop import Loop
from tiny_method import alone, goes_on_bit_for_bit, loop_of, opened, unimodal_models

CASES = [False, True, ("text", "face", "facts")]


def params(third: bool | tuple[str, ...] = False, **overrides: Any) -> Params:
    return tiny_dataset.params(third, methods={**alone(third), "frozen": {}}, **overrides)


def loop(folder: str, own: Params) -> Loop:
    made = loop_of(folder, own, "frozen")
    made.method.load_unimodal(unimodal_models(own))
    return made


def made(own: Params) -> tuple[Method[Any], Batch]:
    method, batch = opened(own, "frozen")
    method.load_unimodal(unimodal_models(own))
    return method.train(), batch


@pytest.mark.parametrize("third", CASES)
def test_encoders_stay_the_trained_ones_and_the_head_moves(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    own = params(third, training={"optimizer": {"weight_decay": 0.1}})
    models = unimodal_models(own)
    train.run(own, "tiny", "frozen", 0)
    start = Setup.open(own, "tiny", "frozen", 0).model().state_dict()
    for rule in ("val", "last", "test"):
        tensors, _ = read_tensors(model_folder("tiny", "frozen", 0) / f"{rule}.safetensors")
        kept = {key: value for key, value in tensors.items() if key.startswith("encoders.")}
        for name in tiny_dataset.names(third):
            own_keys = [key for key in kept if key.startswith(f"encoders.{name}.")]
            assert own_keys and all(torch.equal(kept[key], models[name][key]) for key in own_keys)
        assert all(not torch.equal(tensors[key], start[key]) for key in tensors.keys() - kept.keys())


@pytest.mark.parametrize("third", CASES)
def test_training_sees_the_encoders_as_evaluation_does(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    method, batch = made(params(third))
    assert not any(part.training for part in method.model.encoders.modules()) and method.model.fusion.training
    torch.manual_seed(1)  # of any dropout
    first = method(batch).logits
    torch.manual_seed(2)
    assert torch.equal(first, method(batch).logits)
    assert torch.equal(first, method.eval().model.predict(batch.inputs).logits)
    assert not any(part.training for part in method.modules())


def test_a_step_of_the_head_by_numpy(tiny: Path) -> None:
    own = params()
    running = loop("numpy", own)
    method, batch = running.method, opened(own, "frozen")[1]
    method.train()
    z = torch.cat(list(method.model(batch.inputs).features.values()), 1).detach().double().numpy()
    linear = method.model.fusion.linear
    assert isinstance(linear, nn.Linear)
    w, b = linear.weight.detach().double().numpy().copy(), linear.bias.detach().double().numpy().copy()
    scores = z @ w.T + b
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    truth = np.eye(3)[batch.labels.numpy()]
    step = method.training_step(batch, running)
    np.testing.assert_allclose(float(step.loss.detach()), -np.log((p * truth).sum(1)).mean(), rtol=1e-5)
    optimizer = own.training.optimizer
    decay = optimizer.weight_decay
    expected_w = w - optimizer.lr * ((p - truth).T @ z / len(z) + decay * w)
    expected_b = b - optimizer.lr * ((p - truth).mean(0) + decay * b)
    np.testing.assert_allclose(linear.weight.detach().numpy(), expected_w, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(linear.bias.detach().numpy(), expected_b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fusion", ["concat", "sum", "film", "gated"])
def test_gradients_reach_the_head_alone(tiny: Path, fusion: str) -> None:
    own = params(model={"fusion": fusion})
    method, batch = made(own)
    method(batch).loss.backward()
    reached = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    assert reached == {f"model.fusion.{name}" for name, _ in method.model.fusion.named_parameters()}
    assert {id(p) for p in method.main_parameters()} == {id(p) for p in method.model.fusion.parameters()}


def test_a_broken_run_goes_on_bit_for_bit(tiny: Path) -> None:
    own = params()
    goes_on_bit_for_bit(lambda folder: loop(folder, own))


def test_a_regression_trains_its_head_too(tiny: Path) -> None:
    own = tiny_dataset.write_regression(tiny, methods={"frozen": {}})
    unimodal_models(own)
    train.run(own, "tiny", "frozen", 0)
    tensors: dict[str, Tensor] = read_tensors(model_folder("tiny", "frozen", 0) / "last.safetensors")[0]
    fresh = Setup.open(own, "tiny", "frozen", 0).model().state_dict()
    assert not torch.equal(tensors["fusion.linear.weight"], fresh["fusion.linear.weight"])


def test_frozen_weights_count_as_weights_of_the_model(tiny: Path) -> None:
    own = params()
    counted = {name: Steps(Setup.open(own, "tiny", name, 0)) for name in ("joint", "frozen")}
    assert counted["frozen"].model_weights == counted["joint"].model_weights and counted["frozen"].beside_weights == 0
