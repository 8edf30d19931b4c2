"""MIE by its formulas: phases, the step uphill, mixed features, the filter of the head's gradients."""

import copy
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import tiny_dataset
from equimodal.engines.layout import model_folder
from equimodal.errors import UserError
from equimodal.methods.base import Batch
from equimodal.methods.mie.method import MIE, SeparateHeads, covariance, damped, phases
from equimodal.seeding import generator
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.store import read_tensors
from equimodal.training.loop import Loop
from equimodal.training.measure import predict
from tiny_method import goes_on_bit_for_bit, loop_of, opened, warned_of

TRAINER: Any = SimpleNamespace(device="cpu", processes=1, total=lambda value: value)
SEQUENCES = ("audio", "text", "facts")  # features of unequal width: 32, 8, 8
PLAIN = {"schedule": {"name": "constant"}, "augment": {"crop": False, "flip": False}}
OFF = {"mixup": False, "radius": 0.0, "damping": 0.0}


def params(third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any) -> Any:
    return tiny_dataset.params(third, training=training or {}, methods={"mie": settings, "aim": {"start_epoch": 0}})


def made(third: bool | tuple[str, ...] = False, **settings: Any) -> tuple[MIE, Batch]:
    method, batch = opened(params(third, **settings), "mie")
    assert isinstance(method, MIE)
    method.begin_epoch(0, TRAINER)
    return method, batch


def loop(
    folder: str, third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any
) -> Loop:
    return loop_of(folder, params(third, training, **settings), "mie")


def test_phases_are_the_authors_and_each_has_an_epoch() -> None:
    assert phases(450, 6, [25, 50]) == ([0] * 25 + [1] * 50) * 6
    assert phases(15, 6, [1, 2]) == [0, 1, 0, 1, 1] * 3
    assert phases(7, 1, [1, 1, 1]) == [0, 0, 1, 1, 1, 2, 2]
    assert phases(6, 1, [0.5, 0.01, 0.49]) == [0, 0, 0, 1, 2, 2]
    assert phases(6, 1, [0.98, 0.01, 0.01]) == [0, 0, 0, 0, 1, 2]
    assert phases(3, 6, [1, 1, 1]) == [0, 1, 2] and phases(1, 6, [1, 1]) == [0]
    for epochs in range(3, 40):
        for lengths in ([1.0, 1.0], [1.0, 2.0], [1.0, 5.0, 2.0]):
            order = phases(epochs, 6, lengths)
            assert len(order) == epochs and set(order) == set(range(len(lengths)))
            starts = [m for place, m in enumerate(order) if place == 0 or order[place - 1] != m]
            assert len(set(Counter(starts).values())) == 1 and len(starts) <= 6 * len(lengths)
            assert starts == list(range(len(lengths))) * (len(starts) // len(lengths))


def spectrum(c: Any, damping: float) -> Any:
    """P by NumPy, one direction after the other."""
    values, vectors = np.linalg.eigh(c)
    low, high = values.min(), values.max()
    total = np.zeros_like(c)
    for value, vector in zip(values, vectors.T, strict=True):
        total += math.exp(-damping * (value - low) / (high - low)) * np.outer(vector, vector)
    return total


def test_the_filter_by_numpy() -> None:
    means = np.random.default_rng(0).normal(size=(4, 7))
    c = sum(np.outer(r, r) for r in means)
    found = covariance(torch.from_numpy(means))
    np.testing.assert_allclose(found.numpy(), c, rtol=1e-12)
    p = damped(found, 0.4).numpy()
    np.testing.assert_allclose(p, spectrum(c, 0.4), rtol=1e-9, atol=1e-12)
    _, vectors = np.linalg.eigh(c)
    np.testing.assert_allclose(p @ vectors[:, -1], math.exp(-0.4) * vectors[:, -1], atol=1e-12)
    np.testing.assert_allclose(p @ vectors[:, 0], vectors[:, 0], atol=1e-12, err_msg="what the others never use stays")


@pytest.mark.parametrize("scale", [0.0, 3.0])
def test_equal_eigenvalues_filter_nothing(scale: float) -> None:
    eye = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(damped(scale * eye, 0.4), eye)
    c = covariance(torch.randn(3, 5, dtype=torch.float64))
    torch.testing.assert_close(damped(c, 0.0), eye)


def head_inputs(head: Any, z: Tensor) -> list[Tensor]:
    first, second = head[0], head[2]
    x = functional.relu(functional.linear(z, first.weight, first.bias))
    return [z, x, functional.linear(x, second.weight, second.bias)]


def filters_of(plain: Any, name: str, others: list[str], data: Any, damping: float) -> list[Any]:
    """P of the three layers of a modality's head, from the batch means of the others' layer inputs."""
    inputs = {other: [] for other in others}
    plain.eval()
    with torch.no_grad():
        for x, _ in data.evaluation_batches("train", 32):
            for other in others:
                inputs[other].append(plain.encoders[other](x[other]))
    plain.train()
    order = torch.randperm(60, generator=generator(0, "mie-filter", name))
    found = []
    for place, layer in enumerate(plain.fusion.heads[name][i] for i in (0, 2, 3)):
        c = np.zeros((layer.in_features, layer.in_features))
        for other in others:
            seen = head_inputs(plain.fusion.heads[other], torch.cat(inputs[other]))[place].detach().double().numpy()
            if seen.shape[1] == layer.in_features:
                for start in range(0, 60, 16):
                    r = seen[order[start : start + 16].numpy()].mean(0)
                    c += np.outer(r, r)
        found.append(spectrum(c, damping) if c.any() else np.eye(len(c)))
    return found


def reference(trained: Loop, order: list[str], per_epoch: int, s: dict[str, Any]) -> dict[str, Tensor]:
    """Plain autograd and SGD: epochs of `per_epoch` batches each, the modality of each epoch by name."""
    plain = copy.deepcopy(trained.method.model).train()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    projections: list[Any] = []
    for epoch, name in enumerate(order):
        draw = generator(0, "mie", epoch)
        torch.manual_seed(epoch)
        others = [m for m in plain.encoders if m in order[:epoch] and m != name]
        if others and (epoch == 0 or order[epoch - 1] != name):
            projections = filters_of(plain, name, others, trained.data, s["damping"])
        for batch in list(trained.batches(epoch))[:per_epoch]:
            y, count = batch.labels, len(batch.labels)
            share, partner = torch.ones(()), torch.arange(count)
            if s["mixup"]:
                share = torch.rand((), generator=draw)
                partner = torch.randperm(count, generator=draw)

            def loss_of(model: Any, x: Any, y: Tensor = y, share: Tensor = share, partner: Tensor = partner) -> Tensor:
                z = model.encoders[name](x)  # noqa: B023
                u = model.fusion.heads[name](share * z + (1 - share) * z[partner])  # noqa: B023
                a, b = functional.cross_entropy(u, y), functional.cross_entropy(u, y[partner])
                return share * a + (1 - share) * b

            used = [*plain.encoders[name].parameters(), *plain.fusion.heads[name].parameters()]
            first = torch.autograd.grad(loss_of(plain, batch.inputs[name]), used)
            gradients = list(first)
            if s["radius"] > 0:
                uphill = copy.deepcopy(plain)
                moved = [*uphill.encoders[name].parameters(), *uphill.fusion.heads[name].parameters()]
                norm = math.sqrt(sum(float(g.double().square().sum()) for g in first))
                with torch.no_grad():
                    for p, g in zip(moved, first, strict=True):
                        p += s["radius"] * g / norm
                second = torch.autograd.grad(loss_of(uphill, batch.inputs[name]), moved)
                w = s["perturbed"]
                gradients = [(1 - w) * a + w * b for a, b in zip(first, second, strict=True)]
            optimizer.zero_grad(set_to_none=True)
            for p, g in zip(used, gradients, strict=True):
                p.grad = g
            if others and s["damping"] > 0:
                for i, matrix in zip((0, 2, 3), projections, strict=True):
                    weight = plain.fusion.heads[name][i].weight
                    weight.grad = torch.from_numpy(weight.grad.double().numpy() @ matrix).float()
            optimizer.step()
    return plain.state_dict()


@pytest.mark.parametrize(
    ("third", "settings"),
    [(False, {}), (False, OFF), (False, {"radius": 0.5, "perturbed": 1.0}), (True, {"damping": 2.0}), (SEQUENCES, {})],
)
def test_steps_are_those_of_plain_autograd(tiny: Path, third: bool | tuple[str, ...], settings: dict[str, Any]) -> None:
    tiny_dataset.write(tiny, third=third)
    names = tiny_dataset.names(third)
    epochs = 2 * len(names)
    trained = loop("run", third, {**PLAIN, "epochs": epochs}, cycles=1, **settings)
    order = [name for name in names for _ in range(2)]
    assert isinstance(trained.method, MIE) and trained.method._order == order
    used = {"mixup": True, "radius": 0.05, "perturbed": 0.3, "damping": 0.4, **settings}
    expected = reference(trained, order, 2, used)
    for epoch in range(epochs):
        trained.method.train()
        trained.method.begin_epoch(epoch, trained)
        torch.manual_seed(epoch)
        for batch in list(trained.batches(epoch))[:2]:
            step = trained.method.training_step(batch, trained)
            assert set(step.logs) == {f"{order[epoch]}/loss"} | (
                {f"{order[epoch]}/sharpness"} if used["radius"] > 0 else set()
            )
    for name, value in trained.method.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name, rtol=2e-3, atol=2e-5)


def test_the_step_uphill_is_of_length_rho_and_taken_back(tiny: Path) -> None:
    trained = loop("run", training=PLAIN, mixup=False, radius=0.7)
    method, batch = trained.method.train(), next(iter(trained.batches(0)))
    method.begin_epoch(0, trained)
    trained.backward(method(batch).loss)
    before = {name: (p.detach().clone(), p.grad.clone()) for name, p in method.named_parameters() if p.grad is not None}
    assert all(".audio." in name for name in before), "one modality alone"
    method._climb()
    parameters = dict(method.named_parameters())
    moved = torch.cat([(parameters[name] - value).flatten() for name, (value, _) in before.items()]).detach()
    gradient = torch.cat([g.flatten() for _, g in before.values()])
    assert float(moved.norm()) == pytest.approx(0.7, rel=1e-3)
    assert float(functional.cosine_similarity(moved, gradient, dim=0)) == pytest.approx(1, abs=1e-4)
    first = before["model.fusion.heads.audio.0.weight"][1]
    assert torch.allclose(method.head.heads["audio"][0].weight.grad, 0.7 * first), "its part of the step"
    method.after_backward(trained)
    assert all(torch.equal(parameters[name], value) for name, (value, _) in before.items())


@pytest.mark.parametrize("settings", [{}, {"radius": 0.0}, {"perturbed": 0.0}, {"variant": "released"}])
def test_a_second_pass_is_taken_for_sam_only(tiny: Path, settings: dict[str, Any]) -> None:
    trained = loop("run", training=PLAIN, **settings)
    method, batch = trained.method.train(), next(iter(trained.batches(0)))
    method.begin_epoch(0, trained)
    calls, plain = [], trained.module
    trained.module = lambda *given: calls.append(1) or plain(*given)  # type: ignore[assignment,func-returns-value]
    step = method.training_step(batch, trained)
    assert len(calls) == (1 if settings else 2) and ("audio/sharpness" in step.logs) == (not settings)


def test_released_adds_the_labels_that_are_not_mixed(tiny: Path) -> None:
    method, batch = made(variant="released", perturbed=0.3)
    method.eval()
    share, partner = torch.tensor(0.6), torch.randperm(16, generator=torch.Generator().manual_seed(0))
    method._mix = (share, partner)
    step = method(batch)
    z = method.model.encoders["audio"](batch.inputs["audio"])
    u = method.head.heads["audio"](0.6 * z + 0.4 * z[partner])
    torch.testing.assert_close(step.logits, u)
    own, other = functional.cross_entropy(u, batch.labels), functional.cross_entropy(u, batch.labels[partner])
    torch.testing.assert_close(step.loss, 0.7 * (0.6 * own + 0.4 * other) + 0.3 * own)
    method._mix = None
    torch.testing.assert_close(
        method(batch).loss, functional.cross_entropy(method.head.heads["audio"](z), batch.labels)
    )


def test_draws_are_of_the_seed_and_the_epoch(tiny: Path) -> None:
    method, _ = made()
    state, drawn = torch.get_rng_state(), []
    for epoch in (0, 1, 0):
        method.begin_epoch(epoch, TRAINER)
        drawn.append(method._drawn(16))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(drawn[0][0], drawn[2][0]) and torch.equal(drawn[0][1], drawn[2][1])
    assert not torch.equal(drawn[0][0], drawn[1][0]) and sorted(drawn[0][1].tolist()) == list(range(16))
    shares = torch.stack([method._drawn(2)[0] for _ in range(4000)])
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(shares.var()) == pytest.approx(1 / 12, abs=0.005), "even: Beta(1, 1)"


@pytest.mark.parametrize(("third", "hidden"), [(False, (16, 4)), (SEQUENCES, (16, 4)), (("text", "facts"), (4, 3))])
def test_predictions_are_the_mean_of_softmaxes(tiny: Path, third: bool | tuple[str, ...], hidden: Any) -> None:
    tiny_dataset.write(tiny, third=third)
    method, batch = made(third)
    model = method.model.eval()
    names = tiny_dataset.names(third)
    assert [tuple(layer.weight.shape) for layer in method.head.linears(names[0])] == [
        (hidden[0], model.fusion.dims[names[0]]),
        (hidden[1], hidden[0]),
        (3, hidden[1]),
    ]
    outputs = model.predict(batch.inputs)
    alone = model.readout(outputs.features)
    mean = torch.stack([u.softmax(1) for u in alone.values()]).mean(0)
    torch.testing.assert_close(outputs.logits.softmax(1), mean)
    torch.testing.assert_close(outputs.logits.exp(), mean)
    own = made(third, hidden=[9, 5])[0].head.linears(names[0])
    assert [layer.out_features for layer in own] == [9, 5, 3]


def test_a_regression_predicts_the_mean(tiny: Path) -> None:
    own = tiny_dataset.write_regression(tiny, methods={"mie": {}})
    train.run(own, "tiny", "mie", 0)
    tensors, meta = read_tensors(model_folder("tiny", "mie", 0) / "last.safetensors")
    setup = Setup.open(own, "tiny", "mie", 0)
    model = setup.model(meta["structure"])
    model.load_state_dict(tensors)
    assert isinstance(model.fusion, SeparateHeads)
    found = predict(model, setup.data, "test", 32)
    torch.testing.assert_close(found.logits, sum(found.readouts.values()) / 2)


@pytest.mark.parametrize("third", [pytest.param(False, marks=pytest.mark.slow), SEQUENCES])
def test_a_broken_run_goes_on_bit_for_bit(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    names = tiny_dataset.names(third)
    epochs = {"epochs": 2 * len(names)}
    part = goes_on_bit_for_bit(
        lambda folder: loop(folder, third, epochs, cycles=1), breaks=(3,)
    )  # within the second phase
    metrics = [entry["metrics"] for entry in part.progress.history]
    assert [f"{name}/loss" in metrics[2] for name in names] == [name == names[1] for name in names]
    assert not torch.equal(part.method.get_buffer(f"filter_{names[1]}_1"), torch.eye(16)), "the filter is at work"
    assert torch.equal(part.method.get_buffer(f"filter_{names[0]}_1"), torch.eye(16)), "the first had no other"


@pytest.mark.parametrize(
    ("optimizer", "settings", "warned"), [("sgd", {}, 0), ("adam", {}, 1), ("adamw", {"damping": 0.0}, 0)]
)
def test_optimizers_that_undo_it_are_named(
    tiny: Path, caplog: pytest.LogCaptureFixture, optimizer: str, settings: dict[str, Any], warned: int
) -> None:
    method, _ = made(**settings)
    said = warned_of(optimizer, method, caplog)
    assert [f"mie: {optimizer} rescales every weight" in line for line in said] == [True] * warned


def test_what_it_refuses(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"methods.mie.lengths has 3 phases for 2 modalities \(audio, visual\)"):
        params(lengths=[1, 1, 1]).check_pair("tiny", "mie")
    for bad in ({"cycles": 0}, {"perturbed": 1.5}, {"radius": -1}, {"damping": -1}, {"lengths": [0, 1]}):
        with pytest.raises(UserError, match=f"methods.mie.{next(iter(bad))}"):
            params(**bad)


def test_a_phase_looks_at_the_training_split_once(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(MIE, "_refresh", lambda self, trainer: looked.append(self._active))
    loop("run", training={"epochs": 8}, cycles=2).run()
    assert looked == ["visual", "audio", "visual"], "phases of two epochs; the first has nothing to filter by"
    loop("other", training={"epochs": 2}, damping=0.0).run()
    assert len(looked) == 3
