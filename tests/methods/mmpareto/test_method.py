"""MMPareto by its formulas: the shortest mixture, the length it keeps, steps by plain backward passes of each loss."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import tiny_dataset
import training_process
from equimodal.methods.base import Batch
from equimodal.methods.mmpareto.method import MMPareto, fused_share, pareto_
from equimodal.models.framework import MultimodalModel
from equimodal.models.fusion import Concat
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.training.loop import Loop
from tiny_method import goes_on_bit_for_bit, learned, loop_of, opened, warned_of

SEQUENCES = ("audio", "text", "facts")  # features of unequal width
PLAIN = {"epochs": 1, "schedule": {"name": "constant"}, "augment": {"crop": False, "flip": False}}


def params(
    third: bool | tuple[str, ...] = False,
    training: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    methods = {"mmpareto": settings, "aim": {"start_epoch": 0}}
    return tiny_dataset.params(third, training=training or {}, model=model or {}, methods=methods)


def loop(folder: str, own: Any) -> Loop:
    return loop_of(folder, own, "mmpareto")


class Contrary(Concat):
    """The first modality's readout says the opposite of its part, so that its two losses conflict."""

    def readout(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        first, *_ = self.dims
        return {name: -u if name == first else u for name, u in super().readout(features).items()}


def contrary(model: MultimodalModel) -> None:
    assert type(model.fusion) is Concat
    model.fusion.__class__ = Contrary


def vectors(seed: int, cosine_below: float = 2.0) -> tuple[Any, Any]:
    draw = np.random.default_rng(seed)
    g, own = draw.normal(size=7), draw.normal(size=7) * draw.uniform(0.2, 4)
    return (g, own) if cosine_below > 0 else (g, own - g * (g @ own / (g @ g) + 0.4))


def pareto(parts: list[tuple[Any, Any]], gamma: float, each_tensor: bool) -> list[Any]:
    """The published gradient of an encoder whose tensors have the gradients (g, g^m), in NumPy."""
    g, own = (np.concatenate([pair[place].ravel() for pair in parts]) for place in (0, 1))
    k = 0.5
    if g @ own <= 0:
        k = np.clip(own @ (own - g) / ((g - own) @ (g - own)), 0.001, 0.999)
    mixed = [2 * k * a + 2 * (1 - k) * b for a, b in parts]
    if each_tensor:
        ratios = [np.linalg.norm(a + b) / np.linalg.norm(n) for (a, b), n in zip(parts, mixed, strict=True)]
    else:
        whole = np.linalg.norm(np.concatenate([n.ravel() for n in mixed]))
        ratios = [np.linalg.norm(g + own) / whole] * len(parts)
    return [gamma * max(1.0, ratio) * n for ratio, n in zip(ratios, mixed, strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_the_share_is_that_of_the_shortest_mixture(seed: int) -> None:
    g, own = vectors(seed, 0)
    share = float(fused_share(*(torch.tensor(value) for value in (g @ g, own @ own, g @ own))))
    tried = np.linspace(0, 1, 100001)
    lengths = np.linalg.norm(tried[:, None] * g + (1 - tried[:, None]) * own, axis=1)
    assert share == pytest.approx(tried[lengths.argmin()], abs=2e-5)
    mixed = 2 * share * g + 2 * (1 - share) * own
    assert mixed @ g > 0 and mixed @ own > 0, "identity 14: it helps both"


def test_shares_where_there_is_nothing_to_weigh() -> None:
    def share(*values: float) -> float:
        return float(fused_share(*(torch.tensor(value) for value in values)))

    assert share(4.0, 1.0, 0.1) == 0.5, "they agree"
    assert share(4.0, 1.0, 0.0) == pytest.approx(0.2), "at right angles they do not"
    assert share(0.0, 1.0, 0.0) == pytest.approx(0.999) and share(1.0, 0.0, 0.0) == pytest.approx(0.001)
    assert share(0.0, 0.0, 0.0) == 0.5


@pytest.mark.parametrize("each_tensor", [False, True])
@pytest.mark.parametrize("cosine_below", [2.0, 0.0])
def test_the_gradient_by_numpy(each_tensor: bool, cosine_below: float) -> None:
    draw = np.random.default_rng(1)
    g, own = [draw.normal(size=(3, 4)), draw.normal(size=5)], [draw.normal(size=(3, 4)), 3 * draw.normal(size=5)]
    flat_g, flat_own = (np.concatenate([part.ravel() for part in parts]) for parts in (g, own))
    push = (0.3 if cosine_below > 0 else -0.5) - flat_g @ flat_own / (flat_g @ flat_g)
    own = [b + push * a for a, b in zip(g, own, strict=True)]
    expected = pareto(list(zip(g, own, strict=True)), 1.5, each_tensor)
    total = [torch.from_numpy(a + b) for a, b in zip(g, own, strict=True)]
    cosine = pareto_(total, [torch.from_numpy(b.copy()) for b in own], 1.5, each_tensor)
    for found, value in zip(total, expected, strict=True):
        np.testing.assert_allclose(found.numpy(), value, rtol=1e-9)
    flat_own = np.concatenate([part.ravel() for part in own])
    norms = np.linalg.norm(flat_g) * np.linalg.norm(flat_own)
    assert float(cosine) == pytest.approx(flat_g @ flat_own / norms)
    assert (float(cosine) > 0) == (cosine_below > 0)
    length = float(torch.cat([part.flatten() for part in total]).norm())
    assert each_tensor or length >= 1.5 * np.linalg.norm(flat_g + flat_own) * (1 - 1e-9), "identity 14"


def test_gradients_that_agree_are_summed_and_scaled_bit_for_bit() -> None:
    draw = torch.Generator().manual_seed(0)
    own = [torch.rand(4, 3, generator=draw), torch.rand(2, generator=draw)]
    total = [part + torch.rand(part.shape, generator=draw) for part in own]
    for each_tensor in (False, True):
        found = [part.clone() for part in total]
        pareto_(found, [part.clone() for part in own], 1.5, each_tensor)
        assert all(torch.equal(a, 1.5 * b) for a, b in zip(found, total, strict=True))


def test_opposite_gradients_and_none_are_finite() -> None:
    for total, own in (([torch.zeros(3)], [torch.ones(3)]), ([torch.zeros(3)], [torch.zeros(3)])):
        assert float(pareto_(total, own, 1.5)) <= 0
        assert torch.equal(total[0], torch.zeros(3))


def halves(model: MultimodalModel, batch: Batch, weight: float) -> dict[str, tuple[Tensor, Tensor]]:
    """Of every parameter the gradients of the fused loss and of the unimodal ones, by a backward pass of each loss."""
    outputs = model(batch.inputs)
    fused = functional.cross_entropy(outputs.logits, batch.labels)
    readouts = model.readout(outputs.features)
    found = {}
    first = torch.autograd.grad(fused, list(model.parameters()), retain_graph=True, allow_unused=True)
    total = [torch.zeros_like(p) for p in model.parameters()]
    for logits in readouts.values():
        own = weight * functional.cross_entropy(logits, batch.labels)
        each = torch.autograd.grad(own, list(model.parameters()), retain_graph=True, allow_unused=True)
        total = [a if b is None else a + b for a, b in zip(total, each, strict=True)]
    for (name, p), g, own_g in zip(model.named_parameters(), first, total, strict=True):
        found[name] = (torch.zeros_like(p) if g is None else g, own_g)
    return found


def combined(found: dict[str, tuple[Tensor, Tensor]], modalities: list[str], each_tensor: bool) -> dict[str, Tensor]:
    """What a step's gradients are to be: MMPareto's in each encoder, the plain sum in the head."""
    result = {name: g + own for name, (g, own) in found.items()}
    for modality in modalities:
        names = [name for name in found if name.startswith(f"encoders.{modality}.")]
        parts = [(found[name][0].double().numpy(), found[name][1].double().numpy()) for name in names]
        for name, value in zip(names, pareto(parts, 1.5, each_tensor), strict=True):
            result[name] = torch.from_numpy(value).float()
    return result


@pytest.mark.parametrize(
    ("third", "fusion", "variant", "weight"),
    [
        (False, "concat", "paper", 1.0),
        (False, "concat", "released", 0.5),
        (True, "concat", "paper", 1.0),
        (True, "sum", "paper", 0.5),
        (False, "film", "paper", 1.0),
        (False, "gated", "released", 1.0),
        (SEQUENCES, "concat", "released", 1.0),
    ],
)
def test_a_step_combines_the_gradients_of_single_losses(
    tiny: Path, third: bool | tuple[str, ...], fusion: str, variant: str, weight: float
) -> None:
    tiny_dataset.write(tiny, third=third)
    trained = loop("run", params(third, PLAIN, {"fusion": fusion}, variant=variant, weight=weight))
    method = trained.method.train()
    names = method.model.modalities
    if fusion == "concat":
        contrary(method.model)
    other = copy.deepcopy(method.model)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for seed, batch in enumerate(list(trained.batches(0))[:2]):
        torch.manual_seed(seed)  # dropout of the transformer
        expected = combined(halves(other, batch, weight), names, variant == "released")
        for name, p in other.named_parameters():
            p.grad = expected[name]
        optimizer.step()
        torch.manual_seed(seed)
        step = method.training_step(batch, trained)
        assert fusion != "concat" or float(step.logs[f"{names[0]}/conflict"]) == 1
        assert set(step.logs) == {f"{name}/{what}" for name in names for what in ("loss", "cosine", "conflict")}
        assert float(step.loss.detach()) > weight * sum(float(step.logs[f"{name}/loss"]) for name in names)
    for name, value in method.model.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], msg=name, rtol=2e-3, atol=2e-5)
    assert all(p.grad is None for p in method.parameters())


def test_weight_zero_is_joint_bit_for_bit(tiny: Path) -> None:
    own = params(training={"epochs": 2}, weight=0.0)
    for name in ("joint", "mmpareto"):
        train.run(own, "tiny", name, 0)
    for file in ("val", "last", "test"):
        first, second = (Path(f"models/tiny/{name}/0/{file}.safetensors") for name in ("joint", "mmpareto"))
        assert learned(first) == learned(second)


def test_a_regression_has_its_losses_combined_too(tiny: Path) -> None:
    own = tiny_dataset.write_regression(tiny, methods={"mmpareto": {}})
    trained = loop_of("run", own, "mmpareto")
    metrics = trained.run(until=1).history[0]["metrics"]
    assert metrics["audio/loss"] > 0 and -1 <= metrics["audio/cosine"] <= 1


def test_half_precision_combines_about_the_same_gradients(tiny: Path) -> None:
    found = {}
    for precision in ("32-true", "16-mixed"):
        own = tiny_dataset.params(runtime={"precision": precision}, methods={"mmpareto": {}})
        trained = loop(precision, own)
        contrary(trained.method.train().model)
        found[precision] = trained.method.training_step(next(trained.batches(0)), trained).logs
    for name in ("audio/cosine", "visual/cosine"):
        assert float(found["16-mixed"][name]) == pytest.approx(float(found["32-true"][name]), abs=0.03)
        assert abs(float(found["32-true"][name])) > 0.1


def test_a_broken_run_goes_on_bit_for_bit(tiny: Path) -> None:
    tiny_dataset.write(tiny, third=True)
    own = params(True, training={"epochs": 2})
    goes_on_bit_for_bit(lambda folder: loop(folder, own))


@pytest.mark.parametrize(("optimizer", "warned"), [("sgd", False), ("adam", True), ("adamw", True)])
def test_optimizers_that_undo_it_are_named(
    tiny: Path, caplog: pytest.LogCaptureFixture, optimizer: str, warned: bool
) -> None:
    method, _ = opened(params(), "mmpareto")
    assert isinstance(method, MMPareto)
    said = warned_of(optimizer, method, caplog)
    assert [f"{optimizer} divides the factor" in line for line in said] == [True] * warned


# Each of two processes takes a step and leaves its batch and the gradients that the optimizer was given.
STEPS = """
edit = method.after_backward
def kept(trainer):
    edit(trainer)
    found.update({f"grad/{name}": p.grad.contiguous() for name, p in method.model.named_parameters()})
method.after_backward = kept
batch = next(loop.batches(0))
method.training_step(batch, loop)
found.update({f"input/{name}": value.contiguous() for name, value in batch.inputs.items()}, labels=batch.labels)
"""


@pytest.mark.slow
def test_two_processes_combine_the_gradients_of_both(tiny: Path) -> None:
    own = tiny_dataset.write_params(tiny, runtime={"devices": 2}, methods={"mmpareto": {"weight": 0.5}})
    ranks = [tensors for tensors, _ in training_process.steps(STEPS, "mmpareto")]
    model = Setup.open(own, "tiny", "mmpareto", 0).method().model.train()
    seen = []
    for rank in ranks:
        inputs = {name: rank[f"input/{name}"] for name in model.modalities}
        seen.append(halves(copy.deepcopy(model), Batch(inputs, rank["labels"]), 0.5))
    mean = {name: tuple((a + b) / 2 for a, b in zip(seen[0][name], seen[1][name], strict=True)) for name in seen[0]}
    for name, value in combined(mean, model.modalities, False).items():  # type: ignore[arg-type]
        assert torch.equal(ranks[0][f"grad/{name}"], ranks[1][f"grad/{name}"])
        torch.testing.assert_close(ranks[0][f"grad/{name}"], value, rtol=1e-3, atol=1e-5 * float(value.abs().max()))
