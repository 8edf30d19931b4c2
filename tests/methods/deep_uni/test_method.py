"""deep-uni by itself: classifiers that start at zero and train the encoder, and numbers for labels."""

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_dataset
from equimodal.engines.layout import model_folder
from equimodal.methods.base import Batch
from equimodal.methods.deep_uni.method import DeepUni
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.store import read_json


def first_batch(setup: Setup) -> tuple[DeepUni, Batch]:
    inputs, labels = next(setup.data.evaluation_batches("train", 16))
    method = setup.method().train()
    assert isinstance(method, DeepUni)
    return method, Batch(inputs, labels)


def test_classifiers_start_at_zero_and_draw_nothing(tiny: Path) -> None:
    after = []
    for name in ("joint-uni", "deep-uni"):
        method = Setup.open(tiny_dataset.params(), "tiny", name, 0).method()
        after.append((method.model.state_dict(), torch.rand(1)))
    assert isinstance(method, DeepUni) and len(method.classifiers) == 4
    assert not any(parameter.any() for parameter in method.classifiers.parameters())
    assert torch.equal(after[0][1], after[1][1])
    assert all(torch.equal(value, after[1][0][key]) for key, value in after[0][0].items())


def test_the_gradient_flows_into_the_encoder(tiny: Path) -> None:
    method, batch = first_batch(Setup.open(tiny_dataset.params(), "tiny", "deep-uni", 0))
    for layer in method.classifiers.values():
        torch.nn.init.normal_(layer.weight)  # from zero they pass nothing back at first
    loss, _ = method.deep_loss(method.features(method.model(batch.inputs)), batch.labels)
    loss.backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None and bool(parameter.grad.any())) == (".fusion." not in f".{name}"), name
    main = {id(parameter) for parameter in method.main_parameters()}
    assert main == {id(parameter) for parameter in method.parameters()}


@pytest.mark.parametrize("kind", ["l1", "mse"])
def test_a_number_is_read_from_every_block_by_the_task_s_loss(
    tiny: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_dataset, "REGRESSION", {**tiny_dataset.REGRESSION, "loss": kind, "points": 13})
    params = tiny_dataset.write_regression(tiny, training={"epochs": 2, "optimizer": {"lr": 0.01}})
    method, batch = first_batch(Setup.open(params, "tiny", "deep-uni", 0))
    for layer in method.classifiers.values():
        torch.nn.init.normal_(layer.weight)
    features = method.features(method.model(batch.inputs))[:, method.columns["visual", 1]]
    targets, layer = method.task.objective.memberships(batch.labels), method.classifiers["visual_1"]
    found = method.block_score(("visual", 1), features, batch.labels, targets)
    said = (features @ layer.weight.T + layer.bias)[:, 0].detach().double().numpy()
    y, grid = batch.labels.double().numpy(), np.linspace(-3, 3, 13)
    assert layer.out_features == 1
    error = np.abs(said - y) if kind == "l1" else (said - y) ** 2
    assert found.loss.item() == pytest.approx(error.mean(), rel=1e-5)
    weights = np.maximum(0, 1 - np.abs(y[:, None] - grid) / 0.5)
    p = np.exp(-np.abs(said[:, None] - grid) / 0.5)
    assert found.s.item() == pytest.approx((weights * p / p.sum(1, keepdims=True)).sum(1).mean(), rel=1e-5)
    train.run(params, "tiny", "deep-uni", 0)
    curves = read_json(model_folder("tiny", "deep-uni", 0) / "curves.json")["epochs"]
    assert curves[1]["metrics"]["depth4/audio/L"] < curves[0]["metrics"]["depth4/audio/L"]
