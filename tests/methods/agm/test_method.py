"""AGM by its formulas: Shapley values, coefficients, the gradient that comes of them, and what it leaves alone."""

import copy
import math
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import aim_toys
import tiny_dataset
from equimodal.errors import UserError
from equimodal.methods.agm.method import AGM, attribution_losses, attributions, coefficients
from equimodal.methods.agm.settings import AGMSettings
from equimodal.methods.base import Batch, Task
from equimodal.methods.shapley import shapley_weights, subsets
from equimodal.models.framework import MultimodalModel
from equimodal.models.frozen import evaluation_mode
from equimodal.models.padded import zeroed_inputs
from equimodal.objectives import Classification
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.training.loop import Loop
from tiny_method import goes_on_bit_for_bit, learned, loop_of, opened, warned_of

TRAINER: Any = SimpleNamespace(device="cpu", processes=1, total=lambda value: value)
SEQUENCES = ("audio", "text", "face")


def params(
    third: bool | tuple[str, ...] = False,
    training: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    methods = {"agm": settings, "aim": {"start_epoch": 0}}
    return tiny_dataset.params(third, training=training or {}, model=model or {}, methods=methods)


def made(
    third: bool | tuple[str, ...] = False, model: dict[str, Any] | None = None, **settings: Any
) -> tuple[AGM, Batch]:
    method, batch = opened(params(third, model=model, **settings), "agm")
    assert isinstance(method, AGM)
    method.train()
    method.begin_epoch(0, TRAINER)
    return method, batch


def loop(folder: str, own: Any) -> Loop:
    return loop_of(folder, own, "agm")


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def shapley(count: int, value: Callable[[tuple[int, ...]], Any]) -> list[Any]:
    """Mean over all orders of what each adds to those before it; nothing is worth 0."""
    found: list[Any] = [0.0] * count
    for order in permutations(range(count)):
        before: Any = 0.0
        for place, m in enumerate(order):
            now = value(tuple(sorted(order[: place + 1])))
            found[m] = found[m] + (now - before) / math.factorial(count)
            before = now
    return found


@pytest.mark.parametrize("count", [2, 3, 4])
def test_attributions_are_shapley_values_and_add_up(count: int) -> None:
    draw = np.random.default_rng(count)
    parts = subsets(count)
    assert len(parts) == len(set(parts)) == 2**count - 1 and parts[-1] == tuple(range(count))
    values = draw.normal(size=(len(parts), 5, 4))
    phi = attributions(torch.from_numpy(values), shapley_weights(count)).numpy()
    expected = shapley(count, lambda part: values[parts.index(part)])
    np.testing.assert_allclose(phi, np.stack(expected), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(phi.sum(0), values[-1], rtol=1e-12, atol=1e-12)


def test_two_and_three_modalities_as_they_are_published() -> None:
    a, v, t = (torch.randn(3, 2, dtype=torch.float64) for _ in range(3))  # v(audio), v(visual), T
    phi = attributions(torch.stack([a, v, t]), shapley_weights(2))
    torch.testing.assert_close(phi, torch.stack([(t - v + a) / 2, (t - a + v) / 2]))
    n = {part: torch.randn(3, 2, dtype=torch.float64) for part in subsets(3)}
    phi = attributions(torch.stack(list(n.values())), shapley_weights(3))
    first = (n[0, 1, 2] - n[1, 2]) / 3 + (n[0, 1] - n[1,]) / 6 + (n[0, 2] - n[2,]) / 6 + n[0,] / 3
    torch.testing.assert_close(phi[0], first)


@pytest.mark.parametrize("count", [2, 3])
def test_coefficients_are_the_published_ones(count: int) -> None:
    draw = np.random.default_rng(0)
    c, c_mean = draw.uniform(0.1, 3, count), draw.uniform(0.1, 3, count)
    if count == 2:
        r, big = np.exp(c[::-1] - c), np.exp(c_mean[::-1] - c_mean)
    else:
        r, big = np.exp((c.mean() - c) * 3 / 2), np.exp((c_mean.mean() - c_mean) * 3 / 2)
    for alpha, cap in ((1.5, 10.0), (0.8, 0.05)):
        expected = np.exp(alpha * np.minimum(big - r, cap))
        found = coefficients(torch.from_numpy(c), torch.from_numpy(c_mean), alpha, cap)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    ahead = c.argmin()
    first = coefficients(torch.from_numpy(c), torch.zeros(count, dtype=torch.float64), 1.5, 10.0)
    np.testing.assert_allclose(first.numpy(), np.exp(1.5 * np.minimum(1 - r, 10)), rtol=1e-12)  # identity 5: R = 1
    assert first.argmin() == ahead and first[ahead] < 1, "the one ahead is slowed down"


def test_losses_of_the_attributions_are_bounded() -> None:
    phi = np.random.default_rng(1).normal(size=(2, 6, 3)) * 3
    phi[1, 0] = [50.0, 0.0, 0.0]
    labels = np.array([1, 0, 2, 1, 1, 0])
    p = np.exp(phi) / np.exp(phi).sum(2, keepdims=True)
    expected = -np.log(np.maximum(p[:, np.arange(6), labels], 1e-8)).mean(1)
    found = attribution_losses(torch.from_numpy(phi), torch.from_numpy(labels))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def naive(method: AGM, batch: Batch, c_mean: list[float], cap: float) -> tuple[Tensor, list[float], list[float]]:
    """The step as it is published: the whole network for every subset, hooks on phi; (loss, kappa, c)."""
    model: MultimodalModel = method.model
    names = model.modalities
    whole = tuple(range(len(names)))
    values = {whole: model(batch.inputs).logits}
    with evaluation_mode(model):
        for part in subsets(len(names))[:-1]:
            absent = [name for place, name in enumerate(names) if place not in part]
            values[part] = model(zeroed_inputs(batch.inputs, absent)).logits
    phi = shapley(len(names), lambda part: values[part])
    p = [each.detach().double().softmax(1)[torch.arange(len(batch.labels)), batch.labels] for each in phi]
    c = np.array([-float(each.clamp_min(1e-8).log().mean()) for each in p])

    def ahead(c: Any) -> Any:
        return np.exp((np.mean(c) - c) * len(c) / (len(c) - 1))

    kappa = np.exp(method.settings.alpha * np.minimum(ahead(np.array(c_mean)) - ahead(c), cap))
    for each, k in zip(phi, kappa, strict=True):
        each.register_hook(lambda gradient, k=float(k): gradient * k)
    return functional.cross_entropy(sum(phi), batch.labels), kappa.tolist(), c.tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("third", "fusion"), [(False, "concat"), (False, "film"), (False, "gated"), (True, "sum"), (SEQUENCES, "concat")]
)
def test_a_step_is_the_published_one(tiny: Path, third: bool | tuple[str, ...], fusion: str) -> None:
    """Three steps, so that two have a history; every parameter's gradient, by whole passes and hooks."""
    tiny_dataset.write(tiny, third=third)
    method, batch = made(third, {"fusion": fusion}, head_limit=None)
    # Moderate values, as after some epochs: at the start running statistics are not those of the data.
    for _ in range(60):
        with torch.no_grad():
            method.model(batch.inputs)
    count = len(method.model.modalities)
    history: list[list[float]] = []
    others = Setup.open(params(third, model={"fusion": fusion}), "tiny", "agm", 0).data.evaluation_batches("train", 12)
    for each in (batch, Batch(*next(others)), batch):
        batch = each
        other = copy.deepcopy(method)
        torch.manual_seed(5)  # dropout
        c_mean = np.mean(history, axis=0).tolist() if history else [0.0] * count
        loss, kappa, c = naive(other, batch, c_mean, 10.0 if count == 2 else 7.0)
        loss.backward()
        method.zero_grad()
        torch.manual_seed(5)
        step = method(batch)
        assert float(step.loss.detach()) == pytest.approx(float(loss.detach()), rel=1e-5)
        step.loss.backward()
        assert max(kappa) / min(kappa) > 1.001
        for place, name in enumerate(method.model.modalities):
            assert float(step.logs[f"{name}/kappa"]) == pytest.approx(kappa[place], rel=1e-4)
            assert float(step.logs[f"{name}/c"]) == pytest.approx(c[place], rel=1e-4)
        for name, expected in gradients(other.model).items():
            found = gradients(method.model)[name]
            torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-4 * float(expected.abs().max()) + 1e-7)
        assert all(torch.allclose(a, b) for a, b in zip(method.model.buffers(), other.model.buffers(), strict=True)), (
            "padded passes leave running statistics alone"
        )
        history.append(c)
    assert float(method.iterations) == 3


def test_the_loss_is_that_of_the_fused_logits_to_the_bit(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Padded logits of another size than T, as at the start: the sum of phi is T but for rounding.
    monkeypatch.setattr(AGM, "_padded", lambda self, inputs: 1e4 * torch.randn(2, 16, 3, requires_grad=True))
    method, batch = made()
    other = copy.deepcopy(method.model)
    logits = other(batch.inputs).logits
    step = method(batch)
    assert torch.equal(step.logits, logits)
    assert torch.equal(step.loss.detach(), functional.cross_entropy(logits, batch.labels).detach())


def test_without_modulation_padded_passes_cancel(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Identity 4 of methods.md 26, first half: kappa = 1 gives the joint gradients of CE(T)."""
    monkeypatch.setattr(
        "equimodal.methods.agm.method.coefficients", lambda c, *rest: torch.ones(len(c), dtype=torch.float64)
    )
    for third, fusion in ((False, "gated"), (True, "concat")):
        tiny_dataset.write(tiny, third=third)
        method, batch = made(third, {"fusion": fusion})
        plain = copy.deepcopy(method.model)
        functional.cross_entropy(plain(batch.inputs).logits, batch.labels).backward()
        method(batch).loss.backward()
        for name, expected in gradients(plain).items():
            found = gradients(method.model)[name]
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()) + 1e-7)


class Silent(nn.Module):
    """Bias-free: zeros give zeros, through which no weight has a gradient."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, 6, bias=False), nn.Linear(6, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


@pytest.mark.parametrize("count", [2, 3])
def test_on_an_additive_head_each_encoder_s_gradient_is_scaled(count: int) -> None:
    """Identity 4, second half: late fusion by a linear head, no batch statistics."""
    torch.manual_seed(0)
    names = ["audio", "visual", "third"][:count]
    model = aim_toys.build(tuple(names))
    fusion = type(model.fusion)(dict.fromkeys(names, 5), 3)

    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoders, self.fusion = nn.ModuleDict({name: Silent(4) for name in names}), fusion
            self.modalities = names

        def forward(self, inputs: dict[str, Tensor]) -> Any:
            return SimpleNamespace(logits=self.fuse({name: self.encoders[name](inputs[name]) for name in names}))

        def fuse(self, features: dict[str, Tensor]) -> Tensor:
            logits: Tensor = self.fusion(features)
            return logits

    late: Any = Late()
    method = AGM(late, AGMSettings(), Task(Classification(3), 3, 5, 0))
    method.begin_epoch(0, TRAINER)
    batch = Batch({name: torch.randn(7, 4) for name in names}, torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    plain = copy.deepcopy(late)
    functional.cross_entropy(plain(batch.inputs).logits, batch.labels).backward()
    method(batch).loss.backward()
    assert float((method.kappa - 1).abs().max()) > 0.01
    for name, expected in gradients(plain).items():
        if name.startswith("encoders"):
            kappa = float(method.kappa[names.index(name.split(".")[1])])
            torch.testing.assert_close(gradients(late)[name], kappa * expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_alpha_zero_is_joint_bit_for_bit(tiny: Path, variant: str) -> None:
    own = params(alpha=0.0, head_limit=1e-3, variant=variant, training={"epochs": 2})
    for name in ("joint", "agm"):
        train.run(own, "tiny", name, 0)
    for file in ("val", "last", "test"):
        assert learned(Path(f"models/tiny/joint/0/{file}.safetensors")) == learned(
            Path(f"models/tiny/agm/0/{file}.safetensors")
        )


def test_gradients_are_clipped_when_the_head_s_are_large(tiny: Path) -> None:
    method, batch = made()
    for limit, scale in ((1.0, 1e3), (1e6, 1e3), (1.0, 1e-4), (None, 1e3)):
        method.zero_grad()
        method(batch).loss.backward()
        with torch.no_grad():
            for parameter in method.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(scale)
        before = gradients(method.model)
        method.settings = AGMSettings(head_limit=limit)
        method.after_backward(TRAINER)
        after = gradients(method.model)
        norm = float(torch.stack([g.square().sum() for g in before.values()]).sum().sqrt())
        large = max(float(g.abs().max()) for name, g in before.items() if name.startswith("fusion"))
        factor = 1 / (norm + 1e-6) if limit is not None and large > limit else 1.0
        assert (factor < 1) == (limit == 1.0 and scale == 1e3)
        for name, gradient in before.items():
            torch.testing.assert_close(after[name], factor * gradient, rtol=1e-4, atol=1e-12)
        assert factor < 1 or all(torch.equal(after[name], gradient) for name, gradient in before.items())


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_after_the_window_the_released_factors_stay(tiny: Path, variant: str) -> None:
    method, batch = made(window=[0.0, 0.34], variant=variant)  # two of three epochs
    method(batch)
    last = method.kappa.clone()
    assert not torch.equal(last, torch.ones(2, dtype=torch.float64))
    for epoch in (1, 2):
        method.begin_epoch(epoch, TRAINER)
        logs = method(batch).logs
        if epoch == 1:
            last = method.kappa.clone()
    assert float(method.iterations) == 2
    if variant == "paper":
        assert logs == {}
    else:
        assert torch.equal(torch.stack([logs["audio/kappa"], logs["visual/kappa"]]), last)


def test_the_window_begins_and_ends_by_shares_of_the_run() -> None:
    def on(epochs: int, **settings: Any) -> list[bool]:
        method = AGM(aim_toys.build(), AGMSettings(**settings), Task(Classification(3), epochs, 5, 0))
        found = []
        for epoch in range(epochs):
            method.begin_epoch(epoch, TRAINER)
            found.append(method._scaled)
        return found

    assert on(3) == [True] * 3
    assert on(4, window=(0.25, 0.75)) == [False, True, True, False]
    assert on(4, window=(0.25, 0.75), variant="released") == [False, True, True, True]
    with pytest.raises(UserError, match=r"window \(0.5, 0.2\) must be two shares of the run"):
        params(window=[0.5, 0.2])
    with pytest.raises(UserError, match=r"methods.agm.cap"):
        params(cap=0)
    method = AGM(aim_toys.build(), AGMSettings(cap=3.0), Task(Classification(3), 2, 5, 0))
    assert method._cap == 3.0


@pytest.mark.parametrize(("optimizer", "warned"), [("sgd", False), ("adam", True), ("adamw", True)])
def test_optimizers_that_undo_it_are_named(
    tiny: Path, caplog: pytest.LogCaptureFixture, optimizer: str, warned: bool
) -> None:
    method, _ = made()
    said = warned_of(optimizer, method, caplog)
    assert [f"{optimizer} divides a constant factor" in line for line in said] == [True] * warned


@pytest.mark.parametrize("third", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_broken_run_goes_on_bit_for_bit(tiny: Path, third: bool) -> None:
    tiny_dataset.write(tiny, third=third)
    own = params(third, training={"epochs": 4}, window=[0.0, 0.5], variant="released")
    part = goes_on_bit_for_bit(lambda folder: loop(folder, own), breaks=(1, 3))  # within the window, and after it
    metrics = part.progress.history[-1]["metrics"]
    assert all(metrics[f"{name}/kappa"] > 0 for name in tiny_dataset.names(third))
    assert float(part.method.iterations) == 8
