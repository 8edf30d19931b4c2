"""Shapley-guided alternation: contributions, the choice, steps of one modality, class memories."""

import copy
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import tiny_dataset
import training_process
from equimodal.errors import UserError
from equimodal.methods.base import Batch
from equimodal.methods.mla.method import MLA
from equimodal.methods.shapley_alternating.method import ShapleyAlternating, memory_loss
from equimodal.stages import train
from equimodal.training.loop import Loop
from tiny_method import goes_on_bit_for_bit, loop_of

SEQUENCES = ("audio", "text", "facts")  # features of unequal width
PLAIN = {"epochs": 2, "schedule": {"name": "constant"}, "augment": {"crop": False, "flip": False}}


def params(third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any) -> Any:
    methods = {"shapley-alternating": settings, "mla": {}, "aim": {"start_epoch": 0}}
    return tiny_dataset.params(third, training=training or {}, methods=methods)


def loop(
    folder: str, third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any
) -> Loop:
    return loop_of(folder, params(third, training, **settings), "shapley-alternating")


def scheduler(trained: Loop) -> ShapleyAlternating:
    assert isinstance(trained.method, ShapleyAlternating)
    return trained.method


def entropy_weighted(u: Any) -> Any:
    """MLA's prediction from logits [S, n, K] of the modalities that are there."""
    p = np.exp(u) / np.exp(u).sum(2, keepdims=True)
    h = -(p * np.log(p)).sum(2, keepdims=True)
    w = np.exp(h.max(0) - h)
    return (w / w.sum(0) * u).sum(0)


@pytest.mark.parametrize("third", [False, True])
@pytest.mark.parametrize("held_out", [0.0, 0.3])
def test_contributions_are_shapley_values_of_the_accuracy(tiny: Path, third: bool, held_out: float) -> None:
    tiny_dataset.write(tiny, third=third)
    trained = loop("run", third, held_out=held_out)
    method, names = scheduler(trained), tiny_dataset.names(third)
    method.begin_epoch(0, trained)
    method.training_step(next(iter(trained.batches(0))), trained)  # readouts that differ
    method._choose(trained)
    found = trained.features("held-out" if held_out else "train")
    assert len(found.labels) < 60 if held_out else len(found.labels) == 60
    u, y = np.stack([found.readouts[name].double().numpy() for name in names]), found.labels.numpy()

    def worth(part: tuple[int, ...]) -> float:
        return float((entropy_weighted(u[list(part)]).argmax(1) == y).mean()) if part else 0.0

    count, expected = len(names), []
    for m in range(count):  # the formula with binomials, without the module's weights
        others = [n for n in range(count) if n != m]
        phi = 0.0
        for size in range(count):
            gains = [worth(tuple(sorted((*s, m)))) - worth(s) for s in combinations(others, size)]
            phi += np.mean(gains) / count
        expected.append(phi)
    np.testing.assert_allclose(method.contributions.numpy(), expected, rtol=1e-9)
    assert float(method.contributions.sum()) == pytest.approx(worth(tuple(range(count))))
    assert method._active == names[int(np.argmin(expected))]


def test_the_smallest_contribution_is_chosen(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = loop("run")
    method = scheduler(trained)
    for worth, chosen in (
        ({(0,): 0.9, (1,): 0.4, (0, 1): 0.95}, "visual"),
        ({(0,): 0.3, (1,): 0.4, (0, 1): 0.95}, "audio"),
        ({(0,): 0.4, (1,): 0.4, (0, 1): 0.5}, "audio"),
    ):
        monkeypatch.setattr(ShapleyAlternating, "_value", lambda self, part, found, worth=worth: worth[part])
        method._choose(trained)
        assert method._active == chosen
        difference = method.contributions[0] - method.contributions[1]  # M = 2: phi^1 - phi^2 = v(1) - v(2)
        assert float(difference) == pytest.approx(worth[0,] - worth[1,])


def test_what_nothing_is_worth_chooses_nothing() -> None:
    """v() adds the same to every v(S), and -v()/M to every phi: the order stays."""
    from equimodal.methods.shapley import shapley_weights, subsets

    values = torch.rand(7, dtype=torch.float64)
    shifted = shapley_weights(3) @ (values - 0.3)
    torch.testing.assert_close(shifted, shapley_weights(3) @ values - 0.1)
    assert len(subsets(3)) == 7


@pytest.mark.parametrize("interval", [1, 2])
def test_one_modality_is_trained_for_an_interval(tiny: Path, monkeypatch: pytest.MonkeyPatch, interval: int) -> None:
    waiting = ["visual", "audio", "visual", "visual"]

    def choose(self: ShapleyAlternating, trainer: Any) -> None:
        self._active = waiting.pop(0)

    monkeypatch.setattr(ShapleyAlternating, "_choose", choose)
    trained = loop("run", training={"epochs": 4}, interval=interval)
    trained.run()
    metrics = [entry["metrics"] for entry in trained.progress.history]
    order = ["visual", "audio", "visual", "visual"] if interval == 1 else ["visual", "visual", "audio", "audio"]
    for entry, name in zip(metrics, order, strict=True):
        assert {m: entry[f"{m}/trained"] for m in ("audio", "visual")} == {
            m: float(m == name) for m in ("audio", "visual")
        }
        assert f"{name}/loss" in entry and sum(key.endswith("/loss") and "val" not in key for key in entry) == 3


@pytest.mark.parametrize("third", [False, SEQUENCES])
def test_steps_are_mla_s_of_one_modality(tiny: Path, third: bool | tuple[str, ...]) -> None:
    """Two modalities in turn, a step each: MLA's two steps of a batch, the head's projected gradient included."""
    tiny_dataset.write(tiny, third=third)
    names = tiny_dataset.names(third)
    trained = loop("run", third, PLAIN)
    other = loop_of("mla", params(third, PLAIN), "mla")
    method = scheduler(trained)
    for each in (trained, other):
        each.method.train()
        each.method.begin_epoch(0, each)
    assert isinstance(other.method, MLA)
    method._stale = False
    for batch in list(trained.batches(0))[:2]:
        before = method._batch
        torch.manual_seed(0)
        for name in names:
            method._active, method._batch = name, before
            method.training_step(batch, trained)
        torch.manual_seed(0)
        other.method.training_step(batch, other)
    for name, value in other.method.state_dict().items():
        assert torch.equal(method.state_dict()[name], value), name


@pytest.mark.parametrize("count", [2, 3])
def test_the_memory_s_loss_by_loops(count: int) -> None:
    draw = np.random.default_rng(count)
    h, memory = draw.normal(size=(8, 5)), draw.normal(size=(count - 1, 4, 5))
    visited = draw.random((count - 1, 4)) < 0.6
    visited[:, 0], visited[:, 1] = False, True
    labels = draw.integers(4, size=8)
    labels[:2] = [0, 1]
    total = 0.0
    for i, y in enumerate(labels):
        known = [memory[n, y] for n in range(count - 1) if visited[n, y]]
        total += float(((h[i] - np.mean(known, axis=0)) ** 2).sum()) / 5 if known else 0.0
    members = torch.eye(4, dtype=torch.float64)[torch.from_numpy(labels)]
    found = memory_loss(torch.from_numpy(h), members, torch.from_numpy(memory), torch.from_numpy(visited))
    assert float(found) == pytest.approx(total / 8, rel=1e-9)
    none = memory_loss(torch.from_numpy(h), members, torch.from_numpy(memory), torch.zeros(count - 1, 4).bool())
    assert float(none) == 0


def test_memories_are_running_class_means_of_the_trained_modality(tiny: Path) -> None:
    trained = loop("run", training=PLAIN, memory=0.5, memory_momentum=0.8)
    method = scheduler(trained)
    method.begin_epoch(0, trained)
    method._stale, method._active = False, "visual"
    expected = np.zeros((3, 32))
    for step, batch in enumerate(list(trained.batches(0))[:3]):
        with torch.no_grad():
            z = copy.deepcopy(method.model).train().encoders["visual"](batch.inputs["visual"]).double().numpy()
        method.training_step(batch, trained)
        for k in range(3):
            mean = z[batch.labels.numpy() == k].mean(0)
            expected[k] = mean if step == 0 else 0.8 * expected[k] + 0.2 * mean
    np.testing.assert_allclose(method.memory[1].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert bool(method.visited[1].all()) and not bool(method.visited[0].any()) and not bool(method.memory[0].any())
    absent = Batch({m: x[batch.labels > 0] for m, x in batch.inputs.items()}, batch.labels[batch.labels > 0])
    before = method.memory.clone()
    method.training_step(absent, trained)
    assert torch.equal(method.memory[1, 0], before[1, 0]) and not torch.equal(method.memory[1, 1], before[1, 1])

    method.eval()
    step = method(batch, "audio")
    seen = method.model.encoders["audio"](batch.inputs["audio"])
    plain = functional.cross_entropy(method.head.linear(seen), batch.labels)
    pull = (seen - method.memory[1][batch.labels]).square()
    torch.testing.assert_close(step.loss, plain + 0.5 * pull.mean())
    torch.testing.assert_close(method(batch, "visual").loss, method_loss(method, batch)), "no memory of the other yet"


def test_half_precision_leaves_the_memory_s_loss_alone(tiny: Path) -> None:
    trained = loop("run", memory=0.5)
    method, batch = scheduler(trained).eval(), next(iter(trained.batches(0)))
    for visited in (False, True):  # without any memory, and with one
        method.memory.normal_().mul_(visited)
        method.visited.fill_(visited)
        with torch.autocast("cpu", torch.float16):
            step = method(batch, "audio")
        seen = method._seen
        expected = functional.cross_entropy(method.head.linear(seen), batch.labels)
        if visited:
            pull = (seen - method.memory[1][batch.labels]).square()
            expected = expected + 0.5 * pull.mean()
        torch.testing.assert_close(step.loss, expected, rtol=1e-2, atol=1e-2)


def method_loss(method: ShapleyAlternating, batch: Batch) -> Tensor:
    seen = method.model.encoders["visual"](batch.inputs["visual"])
    return functional.cross_entropy(method.head.linear(seen), batch.labels)


@pytest.mark.parametrize("third", [pytest.param(False, marks=pytest.mark.slow), SEQUENCES])
def test_a_broken_run_goes_on_bit_for_bit(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    settings: dict[str, Any] = {"memory": 0.2, "interval": 2, "held_out": 0.2}
    second = goes_on_bit_for_bit(
        lambda folder: loop(folder, third, {"epochs": 4}, **settings), breaks=(3,)
    )  # within an interval
    metrics = [entry["metrics"] for entry in second.progress.history]
    names = tiny_dataset.names(third)
    assert all(sum(entry[f"{m}/trained"] for m in names) == 1 for entry in metrics)
    assert metrics[2]["audio/contribution"] == metrics[3]["audio/contribution"] != metrics[0]["audio/contribution"]


def test_a_regression_measures_errors(tiny: Path) -> None:
    settings = {"prediction": "fixed", "memory": 0.1, "merge": [3.0, 1.0]}
    own = tiny_dataset.write_regression(tiny, methods={"shapley-alternating": settings})
    train.run(own, "tiny", "shapley-alternating", 0)
    trained = loop_of("run", own, "shapley-alternating")
    method = scheduler(trained)
    method._choose(trained)
    found = trained.features("train")
    audio, visual = (found.readouts[m][:, 0].double() for m in ("audio", "visual"))
    y = found.labels.double()
    # The weights of 3 and 1 sum to 4; a modality that is alone has all of it.
    a, v, both = (-float((each - y).abs().mean()) for each in (4 * audio, 4 * visual, 3 * audio + visual))
    expected = [(both - v + a) / 2, (both - a + v) / 2]
    np.testing.assert_allclose(method.contributions.numpy(), expected, rtol=1e-5)
    with pytest.raises(UserError, match=r"set methods.shapley-alternating.prediction to fixed"):
        tiny_dataset.write_regression(tiny, methods={"shapley-alternating": {}}).check_pair(
            "tiny", "shapley-alternating"
        )


def test_what_it_refuses(tiny: Path) -> None:
    for bad in ({"interval": 0}, {"held_out": 1.0}, {"memory": -1}, {"memory_momentum": 1}):
        with pytest.raises(UserError, match=f"methods.shapley-alternating.{next(iter(bad))}"):
            params(**bad)


# Each of two processes takes two steps and leaves the features and labels it saw, its choice and what it keeps.
STEPS = """
method.begin_epoch(0, loop)
for step, (batch, _) in enumerate(zip(loop.batches(0), range(2))):
    method.training_step(batch, loop)
    found |= {f"h{step}": method._seen.clone(), f"y{step}": batch.labels.clone()}
found |= {"memory": method.memory, "visited": method.visited, "contributions": method.contributions}
facts["active"] = method._active
"""


@pytest.mark.slow
def test_two_processes_train_one_modality_and_keep_one_memory(tiny: Path) -> None:
    own = tiny_dataset.write_params(
        tiny, runtime={"devices": 2}, methods={"shapley-alternating": {"memory": 0.3, "memory_momentum": 0.5}}
    )
    (first, said), (second, other) = training_process.steps(STEPS, "shapley-alternating")
    assert said == other and torch.equal(first["contributions"], second["contributions"])
    place = ["audio", "visual"].index(said["active"])
    expected = np.zeros((3, 32))
    for step in range(2):
        assert not torch.equal(first[f"h{step}"], second[f"h{step}"])
        h, y = (torch.cat([each[f"{key}{step}"] for each in (first, second)]).numpy() for key in "hy")
        means = np.stack([h[y == k].mean(0) for k in range(3)])
        expected = means if step == 0 else 0.5 * expected + 0.5 * means
    for found in (first, second):
        np.testing.assert_allclose(found["memory"][place].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert own.runtime.devices == 2
