"""MNL by its formulas: who teaches whom, the loss, its gradients, and what strength 0 leaves."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import aim_toys
import tiny_dataset
from equimodal.errors import UserError
from equimodal.methods.base import Batch, Task
from equimodal.methods.mnl.method import MNL, guided, negative_loss
from equimodal.methods.mnl.settings import MNLSettings
from equimodal.models.framework import pooled_features
from equimodal.objectives import Classification
from equimodal.stages import train
from equimodal.store import read_json
from tiny_method import goes_on_bit_for_bit, learned, loop_of, opened

TRAINER: Any = SimpleNamespace(device="cpu", processes=1, total=lambda value: value)
SEQUENCES = ("audio", "text", "facts")  # features of unequal width


def params(
    third: bool | tuple[str, ...] = False,
    training: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    joint_uni: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    methods = {"mnl": settings, "joint-uni": joint_uni or {}, "aim": {"start_epoch": 0}}
    return tiny_dataset.params(third, training=training or {}, model=model or {}, methods=methods)


def made(
    third: bool | tuple[str, ...] = False, model: dict[str, Any] | None = None, **settings: Any
) -> tuple[MNL, Batch]:
    method, batch = opened(params(third, model=model, **settings), "mnl")
    assert isinstance(method, MNL)
    method.begin_epoch(0, TRAINER)
    return method, batch


def softmax(u: Any) -> Any:
    e = np.exp(u - u.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def taught_by(u: Any, fused: Any, y: int) -> dict[int, int]:
    """For one sample, learner -> teacher: logits u [M, K], fused [K]."""
    rival = max((k for k in range(len(fused)) if k != y), key=lambda k: fused[k])
    xi, p = [each[y] - each[rival] for each in u], [softmax(each)[y] for each in u]
    best = int(np.argmax(xi))
    return {m: best for m in range(len(u)) if xi[m] < xi[best] and p[m] < p[best]}


def negative(u: Any, fused: Any, labels: Any, w: float) -> float:
    """NL by loops over samples, learners and classes."""
    total = 0.0
    for i, y in enumerate(labels):
        for b, a in taught_by(u[:, i], fused[i], y).items():
            p_a, p_b = softmax(u[a, i]), softmax(u[b, i])
            total += -np.log(p_b[y]) - w * sum(p_a[k] * np.log(p_b[k]) for k in range(len(p_a)) if k != y)
    return total / fused.size


@pytest.mark.parametrize("count", [2, 3])
def test_the_loss_by_loops(count: int) -> None:
    draw = np.random.default_rng(count)
    u, fused = draw.normal(size=(count, 40, 4)) * 2, draw.normal(size=(40, 4))
    labels = draw.integers(4, size=40)
    log_p = torch.from_numpy(u).log_softmax(2)
    strongest, taught = guided(log_p, torch.from_numpy(fused), torch.from_numpy(labels))
    for i, y in enumerate(labels):
        expected = taught_by(u[:, i], fused[i], y)
        assert {m for m in range(count) if taught[m, i]} == set(expected)
        assert all(int(strongest[i]) == a for a in expected.values())
    assert 0 < int(taught.sum()) < (count - 1) * 40, "some teach, and some pairs disagree"
    for w in (0.7, 0.2):
        found = negative_loss(log_p, torch.from_numpy(labels), strongest, taught, w)
        assert float(found) == pytest.approx(negative(u, fused, labels, w), rel=1e-9)


def test_who_teaches_whom() -> None:
    def who(u: list[list[float]], fused: list[float], y: int = 0) -> tuple[int, list[bool]]:
        logits = torch.tensor(u, dtype=torch.float64)[:, None]
        strongest, taught = guided(logits.log_softmax(2), torch.tensor([fused]), torch.tensor([y]))
        return int(strongest), taught[:, 0].tolist()

    assert who([[3, 0, 0], [1, 0, 0]], [1.0, 0.5, 0.0]) == (0, [False, True])
    assert who([[1, 0, 0], [3, 0, 0]], [1.0, 0.5, 0.0]) == (1, [True, False])
    # The margin is against class 1, which the fused logits give most; p_0 is larger in the second: they disagree.
    assert who([[3, 0, 3], [2, 0, -9]], [0.0, 2.0, 1.0])[1] == [False, False]
    # The same with class 2 as rival: the second leads in both.
    assert who([[3, 0, 3], [2, 0, -9]], [0.0, 1.0, 2.0]) == (1, [True, False])
    # The label's class is no rival, however much the fused logits give it.
    assert who([[0, 1, 0], [0, 3, 0]], [0.0, 9.0, 2.0], y=1) == (1, [True, False])
    assert who([[2, 0, 0], [2, 0, 0]], [1.0, 0.5, 0.0])[1] == [False, False], "equal ones"


def test_a_teacher_s_probabilities_are_constants_and_its_own_logits_get_no_gradient() -> None:
    u = torch.tensor([[[3.0, 0.0, -1.0]], [[0.5, 1.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0])
    log_p = u.log_softmax(2)
    strongest, taught = guided(log_p.detach(), torch.tensor([[1.0, 0.5, 0.0]]), labels)
    negative_loss(log_p, labels, strongest, taught, 0.7).backward()
    assert u.grad is not None and float(u.grad[0].abs().max()) == 0
    p_a, p_b = softmax(u.detach().numpy()[0, 0]), softmax(u.detach().numpy()[1, 0])
    target = np.array([1, 0.7 * p_a[1], 0.7 * p_a[2]])
    np.testing.assert_allclose(u.grad[1, 0].numpy(), (target.sum() * p_b - target) / 3, rtol=1e-9)


@pytest.mark.parametrize("fusion", ["concat", "sum", "film", "gated"])
def test_a_step_is_the_sum_of_three_losses(tiny: Path, fusion: str) -> None:
    method, batch = made(model={"fusion": fusion}, weight=0.6, guidance=1.7, non_target=0.4)
    step = method(batch)
    features = pooled_features(method.model.encode(batch.inputs))
    fused = method.model.fuse(features)
    alone = method.model.readout(features)
    u = torch.stack(list(alone.values())).detach().double().numpy()
    nl = negative(u, fused.detach().double().numpy(), batch.labels.numpy(), 0.4)
    plain = functional.cross_entropy(fused, batch.labels)
    plain = plain + 0.6 * sum(functional.cross_entropy(each, batch.labels) for each in alone.values())
    assert torch.equal(step.logits, fused)
    assert float(step.loss.detach()) == pytest.approx(float(plain.detach()) + 1.7 * nl, rel=1e-5)
    assert nl > 0 and float(step.logs["negative/loss"]) == pytest.approx(nl, rel=1e-4)
    step.loss.backward()
    assert all(p.grad is not None for p in method.model.parameters())


@pytest.mark.parametrize("third", [True, SEQUENCES])
def test_three_modalities_have_one_teacher_a_sample(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    method, batch = made(third)
    method.eval()  # no dropout between the two passes
    step = method(batch)
    outputs = method.model(batch.inputs)
    u = torch.stack(list(method.model.readout(outputs.features).values())).detach().double().numpy()
    pairs = [taught_by(u[:, i], outputs.logits[i].detach().numpy(), int(y)) for i, y in enumerate(batch.labels)]
    for place, name in enumerate(method.model.modalities):
        assert float(step.logs[f"{name}/taught"]) == pytest.approx(np.mean([place in p for p in pairs]))
        assert float(step.logs[f"{name}/guides"]) == pytest.approx(np.mean([place in p.values() for p in pairs]))


@pytest.mark.parametrize(("weight", "other"), [(0.0, "joint"), (0.7, "joint-uni")])
def test_guidance_zero_is_joint_or_joint_uni_bit_for_bit(tiny: Path, weight: float, other: str) -> None:
    own = params(training={"epochs": 2}, joint_uni={"weight": weight}, weight=weight, guidance=0.0)
    for name in (other, "mnl"):
        train.run(own, "tiny", name, 0)
    for file in ("val", "last", "test"):
        first, second = (learned(Path(f"models/tiny/{name}/0/{file}.safetensors")) for name in (other, "mnl"))
        assert first == second


def test_it_teaches_within_the_window_only(tiny: Path) -> None:
    method = MNL(aim_toys.build(), MNLSettings(window=(0.25, 0.75)), Task(Classification(3), 4, 5, 0))
    found = []
    for epoch in range(4):
        method.begin_epoch(epoch, TRAINER)
        found.append(method._teaches)
    assert found == [False, True, True, False]
    train.run(params(training={"epochs": 2}, window=[0.5, 1.0], weight=0.0), "tiny", "mnl", 0)
    epochs = read_json(Path("models/tiny/mnl/0/curves.json"))["epochs"]
    assert ["negative/loss" in entry["metrics"] for entry in epochs] == [False, True]


@pytest.mark.parametrize("third", [pytest.param(False, marks=pytest.mark.slow), SEQUENCES])
def test_a_broken_run_goes_on_bit_for_bit(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    own = params(third)
    second = goes_on_bit_for_bit(lambda folder: loop_of(folder, own, "mnl"))
    metrics = second.progress.history[-1]["metrics"]
    assert metrics["negative/loss"] > 0 and max(metrics[f"{m}/taught"] for m in tiny_dataset.names(third)) > 0


def test_half_precision_computes_the_loss_in_float32(tiny: Path) -> None:
    method, batch = made()
    with torch.autocast("cpu", torch.bfloat16):
        step = method(batch)
    assert step.logits.dtype == torch.bfloat16 and step.logs["negative/loss"].dtype == torch.float32
    assert isinstance(step.loss, Tensor) and bool(step.loss.isfinite())


def test_what_it_refuses(tiny: Path) -> None:
    for bad, said in (({"weight": -1}, "weight"), ({"guidance": -1}, "guidance"), ({"non_target": -1}, "non_target")):
        with pytest.raises(UserError, match=f"methods.mnl.{said}"):
            params(**bad)
