"""InfoReg by its formulas: the prime learning window, leads and pulls, and the gradient that comes of them."""

import copy
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import tiny_dataset
import training_process
from equimodal.methods.base import Batch
from equimodal.methods.inforeg.method import InfoReg, growth, pulls
from equimodal.models.framework import MultimodalModel
from equimodal.stages import train
from equimodal.training.loop import Loop
from tiny_method import goes_on_bit_for_bit, learned, loop_of, opened

TRAINER: Any = SimpleNamespace(device="cpu", processes=1)
SEQUENCES = ("audio", "text", "facts")  # features of unequal width
PLAIN = {"epochs": 1, "schedule": {"name": "constant"}, "augment": {"crop": False, "flip": False}}


def params(
    third: bool | tuple[str, ...] = False,
    training: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    methods = {"inforeg": settings, "aim": {"start_epoch": 0}}
    return tiny_dataset.params(third, training=training or {}, model=model or {}, methods=methods)


def made(third: bool | tuple[str, ...] = False, **settings: Any) -> tuple[InfoReg, Batch]:
    method, batch = opened(params(third, **settings), "inforeg")
    assert isinstance(method, InfoReg)
    method.train()
    return method, batch


def loop(folder: str, own: Any) -> Loop:
    return loop_of(folder, own, "inforeg")


def test_growth_is_the_relative_one_of_the_trace() -> None:
    assert growth([]) == 1.0 and growth([3.0]) == 1.0, "all that is known so far is new"
    assert growth([3.0, 4.0]) == 0.25 and growth([9.0, 3.0, 4.0]) == 0.25
    assert growth([4.0, 3.0]) == pytest.approx(-1 / 3) and growth([1.0, 0.0]) == 1.0


def test_the_released_growth_is_of_ten_epochs() -> None:
    draw = np.random.default_rng(0)
    traces = draw.uniform(1, 2, 14)
    for count in (2, 5, 10, 11, 14):
        now, before = traces[max(0, count - 10) : count].mean(), traces[max(0, count - 11) : count - 1].mean()
        many = (min(count, 10) * now, min(count - 1, 10) * before)  # sums over ten, of fewer where there are none
        assert growth(traces[:count].tolist(), released=True) == pytest.approx((many[0] - many[1]) / many[0])
    assert growth([], released=True) == growth([2.0], released=True) == 1.0


def test_pulls_by_hand() -> None:
    found = pulls(torch.tensor([-0.5, -2.0, -1.5], dtype=torch.float64), 0.9)
    expected = [math.exp(0.9 * math.tanh((1.5 + 1.0) / 2)), 0.0, math.exp(0.9 * math.tanh(0.5))]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert torch.equal(pulls(torch.zeros(3), 0.9), torch.zeros(3)), "nobody leads"
    assert torch.equal(pulls(torch.tensor([1.0, 0.0]), 0.0), torch.tensor([1.0, 0.0]))
    for first, factor in ((0, 0.95), (1, 0.10)):
        scores = torch.zeros(2, dtype=torch.float64)
        scores[first] = 0.7
        released = torch.zeros(2, dtype=torch.float64)
        released[first] = factor * math.exp(math.tanh(0.7))
        torch.testing.assert_close(pulls(scores, 0.9, released=True), released)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_scores_are_what_readouts_give_to_the_true_class(tiny: Path, variant: str) -> None:
    tiny_dataset.write(tiny, third=True)
    method, batch = made(True, variant=variant)
    method.begin_epoch(0, TRAINER)
    other = copy.deepcopy(method.model)
    logs = method(batch).logs
    with torch.no_grad():
        for name, u in other.readout(other(batch.inputs).features).items():
            p = np.exp(u.double().numpy())
            p = (p / p.sum(1, keepdims=True))[np.arange(len(batch.labels)), batch.labels.numpy()]
            expected = p.sum() if variant == "released" else np.log(p).mean()
            assert float(logs[f"{name}/score"]) == pytest.approx(expected, rel=1e-4)
    scores = torch.stack([logs[f"{name}/score"] for name in other.modalities])
    found = torch.stack([logs[f"{name}/pull"] for name in other.modalities])
    torch.testing.assert_close(found, pulls(scores, 0.9, variant == "released"))
    assert found[scores.argmax()] > 0 and found[scores.argmin()] == 0


def reference_epoch(
    model: MultimodalModel, batches: list[Batch], weight: float, beta: float
) -> tuple[dict[str, Tensor], float]:
    """The state after an epoch in the window, by the proximal loss (alpha / 2) |w - w_0|^2, and its Fisher trace."""
    plain = copy.deepcopy(model).train()
    start = {name: p.detach().clone() for name, p in plain.named_parameters()}
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    squares = []
    for seed, batch in enumerate(batches):
        torch.manual_seed(seed)
        optimizer.zero_grad()
        outputs = plain(batch.inputs)
        readouts = plain.readout(outputs.features)
        scores = {name: -float(functional.cross_entropy(u.detach(), batch.labels)) for name, u in readouts.items()}
        loss = functional.cross_entropy(outputs.logits, batch.labels)
        loss = loss + weight * sum(functional.cross_entropy(u, batch.labels) for u in readouts.values())
        loss.backward(retain_graph=True)
        squares.append(sum(float(p.grad.square().sum()) for p in plain.encoders.parameters()))
        for name, score in scores.items():
            behind = [score - other for other in scores.values() if other < score]
            if behind:
                alpha = math.exp(beta * math.tanh(sum(behind) / len(behind)))
                held = [(p, start[key]) for key, p in plain.named_parameters() if key.startswith(f"encoders.{name}.")]
                (alpha / 2 * sum((p - at).square().sum() for p, at in held)).backward()
        optimizer.step()
    return plain.state_dict(), sum(squares) / len(squares)


@pytest.mark.parametrize(
    ("third", "fusion", "weight", "beta"),
    [
        (False, "concat", 0.0, 0.9),
        (True, "sum", 0.5, 0.3),
        (False, "film", 0.0, 0.9),
        (False, "gated", 1.0, 0.9),
        (SEQUENCES, "concat", 0.0, 0.9),
    ],
)
def test_an_epoch_in_the_window_is_that_of_the_proximal_loss(
    tiny: Path, third: bool | tuple[str, ...], fusion: str, weight: float, beta: float
) -> None:
    tiny_dataset.write(tiny, third=third)
    trained = loop("run", params(third, PLAIN, {"fusion": fusion}, weight=weight, beta=beta))
    method = trained.method.train()
    batches = list(trained.batches(0))[:3]
    expected, trace = reference_epoch(method.model, batches, weight, beta)
    before = copy.deepcopy(method.model.state_dict())
    method.begin_epoch(0, trained)
    for seed, batch in enumerate(batches):
        torch.manual_seed(seed)  # dropout of the transformer
        method.training_step(batch, trained)
    moved = 0.0
    for name, value in method.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name, rtol=1e-3, atol=2e-5)
        moved = max(moved, float((value.float() - before[name].float()).abs().max()))
    assert moved > 0.02
    found = method.end_epoch(0, trained)
    assert found == {"fisher/trace": pytest.approx(trace, rel=1e-3), "fisher/prime": 1.0}


def test_at_an_epoch_s_start_nothing_pulls(tiny: Path) -> None:
    method, batch = made()
    for epoch in (0, 1):
        method.begin_epoch(epoch, TRAINER)
        method.zero_grad()
        method(batch).loss.backward()
        before = [p.grad.clone() for p in method.model.parameters()]
        method.after_backward(TRAINER)
        assert float(method._pull.max()) > 1
        assert all(torch.equal(a, p.grad) for a, p in zip(before, method.model.parameters(), strict=True))
        with torch.no_grad():
            for p in method.model.parameters():
                p.add_(0.1)  # the next epoch starts here


def test_the_window_is_closed_where_the_trace_does_not_grow(tiny: Path) -> None:
    method, batch = made()
    for traces, open_ in (([1.0, 2.0], True), ([1.0, 1.041], False), ([1.0, 1.043], True), ([2.0, 1.0], False)):
        method.load_extra({"traces": traces})
        method.begin_epoch(2, TRAINER)
        step = method(batch)
        assert bool(step.logs) == open_ and bool(method._starts) == open_
        assert method.end_epoch(2, TRAINER)["fisher/prime"] == open_


def test_threshold_one_is_joint_bit_for_bit(tiny: Path) -> None:
    own = params(training={"epochs": 2}, threshold=1.0)
    for name in ("joint", "inforeg"):
        train.run(own, "tiny", name, 0)
    for file in ("val", "last", "test"):
        first, second = (Path(f"models/tiny/{name}/0/{file}.safetensors") for name in ("joint", "inforeg"))
        assert learned(first) == learned(second)


def test_a_regression_is_held_back_too(tiny: Path) -> None:
    own = tiny_dataset.write_regression(tiny, methods={"inforeg": {}})
    metrics = loop_of("run", own, "inforeg").run(until=1).history[0]["metrics"]
    assert metrics["audio/score"] < 0 and max(metrics["audio/pull"], metrics["visual/pull"]) > 0.5


def test_a_broken_run_goes_on_bit_for_bit(tiny: Path) -> None:
    tiny_dataset.write(tiny, third=True)
    own = params(True, training={"epochs": 3}, threshold=0.0)
    part = goes_on_bit_for_bit(lambda folder: loop(folder, own), breaks=(2,))
    assert len(part.method.extra()["traces"]) == 3


def test_a_step_that_overflows_float16_is_not_in_the_trace(tiny: Path) -> None:
    method, batch = made()
    method.begin_epoch(0, TRAINER)
    for overflowed in (False, True):
        method.zero_grad()
        method(batch).loss.backward()
        if overflowed:
            next(method.model.encoders.parameters()).grad.fill_(math.inf)  # type: ignore[union-attr]
        method.after_backward(TRAINER)
    assert float(method._sums[1]) == 1 and math.isfinite(method.end_epoch(0, TRAINER)["fisher/trace"])


# Each of two processes takes two steps and leaves what it scored and how it pulled.
STEPS = """
scored, scores = method._scores, []
method._scores = lambda *seen: scores.append(scored(*seen)) or scores[-1]
method.begin_epoch(0, loop)
for batch, _ in zip(loop.batches(0), range(2)):
    method.training_step(batch, loop)
logs = method.end_epoch(0, loop)
found = {"own": scores[-1], "pull": method._pull, "trace": torch.tensor(logs["fisher/trace"])}
found |= {f"state/{name}": value.contiguous() for name, value in method.model.encoders.named_parameters()}
"""


@pytest.mark.slow
def test_two_processes_pull_alike(tiny: Path) -> None:
    tiny_dataset.write_params(tiny, runtime={"devices": 2}, methods={"inforeg": {}})
    first, second = (tensors for tensors, _ in training_process.steps(STEPS, "inforeg"))
    assert not torch.equal(first["own"], second["own"])
    torch.testing.assert_close(first["pull"], pulls((first["own"] + second["own"]) / 2, 0.9))
    for name in set(first) - {"own"}:
        assert torch.equal(first[name], second[name]), name


def test_starts_are_part_of_no_state(tiny: Path) -> None:
    method, _ = made()
    before = set(method.state_dict())
    method.begin_epoch(0, TRAINER)
    assert method._starts and set(method.state_dict()) == before
