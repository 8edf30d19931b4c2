"""ReconBoost by its formulas: turns, what a turn's loss asks for, agreement that has a gradient, where it starts."""

import copy
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
import training_process
from equimodal.engines.layout import model_folder, unimodal_path
from equimodal.errors import UserError
from equimodal.methods.base import Batch, Task
from equimodal.methods.reconboost.method import ReconBoost, turn_losses
from equimodal.methods.reconboost.settings import ReconBoostSettings
from equimodal.models.framework import MultimodalModel
from equimodal.objectives import Classification
from equimodal.stages import train, unimodal
from equimodal.stages.setup import Setup
from equimodal.store import read_tensors
from equimodal.training.loop import Loop
from equimodal.training.measure import predict
from tiny_method import goes_on_bit_for_bit, loop_of, opened

TRAINER: Any = SimpleNamespace(device="cpu", processes=1)
SEQUENCES = ("audio", "text", "facts")  # features of unequal width
PLAIN = {"epochs": 1, "schedule": {"name": "constant"}, "augment": {"crop": False, "flip": False}}


def params(third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any) -> Any:
    methods = {"reconboost": settings, "aim": {"start_epoch": 0}}
    methods |= {name: {"base": "unimodal", "modality": name} for name in tiny_dataset.names(third)}
    return tiny_dataset.params(third, training=training or {}, methods=methods)


def made(third: bool | tuple[str, ...] = False, epoch: int = 0, **settings: Any) -> tuple[ReconBoost, Batch]:
    method, batch = opened(params(third, **settings), "reconboost")
    assert isinstance(method, ReconBoost)
    method.train()
    method.begin_epoch(epoch, TRAINER)
    return method, batch


def loop(folder: str, own: Any) -> Loop:
    return loop_of(folder, own, "reconboost")


def softmax(u: Any) -> Any:
    e = np.exp(u - u.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_a_turn_s_losses_by_numpy_and_their_gradients() -> None:
    """The published sums over one-hot labels, their gradients by hand; the others are a constant."""
    draw = np.random.default_rng(0)
    u, v, labels = draw.normal(size=(5, 4)) * 2, draw.normal(size=(5, 4)) * 3, np.array([0, 3, 1, 1, 2])
    y, p, q = np.eye(4)[labels], softmax(u), softmax(v)
    own, others = (torch.from_numpy(x).requires_grad_() for x in (u, v))
    residual, distance = turn_losses(own, others.detach(), torch.from_numpy(labels), 5.0, 1.0)
    per_sample = -5.0 * (y * np.log(p)).mean(1) + 1.0 * (y * q * np.log(p)).mean(1)
    assert float(residual.detach()) == pytest.approx(per_sample.mean())
    assert float(distance.detach()) == pytest.approx(((p - q) ** 2).mean())
    (found,) = torch.autograd.grad(residual, own, retain_graph=True)
    left = 5.0 - (y * q).sum(1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), left * (p - y) / (5 * 4), rtol=1e-9)
    (found,) = torch.autograd.grad(distance, own)
    away = p * (p - q)
    np.testing.assert_allclose(found.numpy(), 2 * (away - p * away.sum(1, keepdims=True)) / (5 * 4), rtol=1e-9)


def test_turns_follow_each_other_and_all_are_rectified_between() -> None:
    def turns(third: bool, epochs: int, **settings: Any) -> list[str | None]:
        model = aim_toys.build(("audio", "visual", "third")[: 2 + third])
        method = ReconBoost(model, ReconBoostSettings(**settings), Task(Classification(3), epochs, 5, 0))
        found = []
        for epoch in range(epochs):
            method.begin_epoch(epoch, TRAINER)
            found.append(method._turn)
        return found

    found = turns(False, 48)
    assert (
        found[:17] == ["audio"] * 4 + [None] * 4 + ["visual"] * 4 + [None] * 4 + ["audio"]
        and turns(False, 99) == (found * 3)[:99]
    )
    assert turns(False, 47)[:7] == ["audio"] * 3 + [None] * 3 + ["visual"], "three rounds in a short run"
    assert turns(True, 6) == ["audio", None, "visual", None, "third", None]
    assert turns(False, 4, stage_epochs=3) == ["audio"] * 3 + [None]
    third = ["audio", "audio", None, "visual", "visual", None, "third", "third", None, "audio"]
    assert turns(True, 10, stage_epochs=2, rectify_epochs=1) == third
    assert turns(False, 3, stage_epochs=1, rectify_epochs=0) == ["audio", "visual", "audio"]


def reference_step(model: MultimodalModel, batch: Batch, turn: str | None, agreement: float) -> Tensor:
    """The loss of a batch, by whole passes and one-hot labels."""
    names = model.modalities
    if turn is None:
        features = {name: model.encoders[name](batch.inputs[name]) for name in names}
        total: Any = sum(model.fusion.linears[name](features[name]) for name in names)  # type: ignore[union-attr, index]
        return functional.cross_entropy(total, batch.labels)
    still = copy.deepcopy(model).eval()
    with torch.no_grad():
        others: Any = sum(
            still.fusion.linears[name](still.encoders[name](batch.inputs[name]))  # type: ignore[union-attr, index]
            for name in names
            if name != turn
        )
        q = others.softmax(1)
    own = model.fusion.linears[turn](model.encoders[turn](batch.inputs[turn]))  # type: ignore[union-attr, index]
    y = functional.one_hot(batch.labels, own.shape[1]).float()
    log_p = own.log_softmax(1)
    loss = (-5.0 * (y * log_p).mean(-1) + 1.0 * (y * q * log_p).mean(-1)).mean()
    return loss + agreement * ((own.softmax(1) - q) ** 2).mean()


@pytest.mark.parametrize(
    ("third", "variant"), [(False, "paper"), (False, "released"), (True, "paper"), (SEQUENCES, "paper")]
)
def test_epochs_by_plain_autograd(tiny: Path, third: bool | tuple[str, ...], variant: str) -> None:
    tiny_dataset.write(tiny, third=third)
    own = params(third, PLAIN, stage_epochs=1, rectify_epochs=1, variant=variant)
    trained = loop("run", own)
    method = trained.method.train()
    names = method.model.modalities
    plain = copy.deepcopy(method.model)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    batches = list(trained.batches(0))[:2]
    order = [turn for name in names for turn in (name, None)]
    for epoch, turn in enumerate(order):
        method.begin_epoch(epoch, trained)
        agreement = 0.5 if epoch >= 2 and variant == "paper" else 0.0
        for seed, batch in enumerate(batches):
            torch.manual_seed(seed)  # dropout of the transformer
            loss = reference_step(plain, batch, turn, agreement)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            torch.manual_seed(seed)
            step = method.training_step(batch, trained)
            assert float(step.loss.detach()) == pytest.approx(float(loss.detach()), rel=1e-3)
            assert step.logits.shape == (len(batch.labels), 3)
            assert set(step.logs) == (set() if turn is None else {f"{turn}/residual", f"{turn}/distance"})
    for name, value in method.model.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], msg=name, rtol=2e-3, atol=5e-5)


def test_in_a_turn_the_others_stand_still_and_are_seen_as_they_are_evaluated(tiny: Path) -> None:
    own = params(training=PLAIN, stage_epochs=1, rectify_epochs=1)
    trained = loop("run", own)
    method = trained.method.train()
    method.begin_epoch(2, trained)
    before = copy.deepcopy(method.model).eval()
    batch = next(trained.batches(0))
    step = method.training_step(batch, trained)
    for name, value in method.model.state_dict().items():
        stays = name.startswith(("encoders.audio", "fusion.linears.audio"))
        changed = not torch.equal(value, before.state_dict()[name])
        assert not (stays and changed), name
    assert not torch.equal(method.model.fusion.linears.visual.weight, before.fusion.linears.visual.weight)  # type: ignore[union-attr]
    assert method.model.training and all(part.training for part in method.model.modules())
    with torch.no_grad():
        audio = before.readout({n: e(batch.inputs[n]) for n, e in before.encoders.items()})["audio"]
        visual = copy.deepcopy(before).train()
        seen = visual.fusion.linears.visual(visual.encoders["visual"](batch.inputs["visual"]))  # type: ignore[union-attr]
    torch.testing.assert_close(step.logits.detach(), audio + seen, rtol=1e-4, atol=1e-5)


def test_agreement_has_a_gradient_from_the_second_turn_on_and_none_as_released(tiny: Path) -> None:
    def gradient(epoch: int, **settings: Any) -> Tensor:
        method, batch = made(epoch=epoch, stage_epochs=1, rectify_epochs=1, **settings)
        method(batch).loss.backward()
        turn = method._turn
        assert turn is not None
        head = method.model.fusion.linears[turn]  # type: ignore[union-attr, index]
        assert isinstance(head, nn.Linear) and head.weight.grad is not None
        return head.weight.grad

    for epoch, differs in ((0, False), (2, True)):
        without = gradient(epoch, agreement=0.0)
        assert torch.equal(without, gradient(epoch, variant="released"))
        assert torch.equal(without, gradient(epoch)) != differs


def started(tiny: Path, third: bool | tuple[str, ...], own: Any) -> None:
    tiny_dataset.write(tiny, third=third)
    for name in tiny_dataset.names(third):
        train.run(own, "tiny", name, 0)
        unimodal.run(own, "tiny", name, 0)


@pytest.mark.parametrize("third", [False, SEQUENCES])
def test_it_starts_as_the_sum_of_the_trained_models(tiny: Path, third: bool | tuple[str, ...]) -> None:
    own = params(third, {"epochs": 1})
    started(tiny, third, own)
    setup = Setup.open(own, "tiny", "reconboost", 0)
    method = setup.method()
    files = {name: read_tensors(unimodal_path("tiny", name, 0))[0] for name in tiny_dataset.names(third)}
    method.load_unimodal(files)
    found = predict(method.model, setup.data, "test", 32)
    total = torch.zeros_like(found.logits)
    for name in files:
        alone = Setup.open(own, "tiny", name, 0)
        model = alone.model()
        model.load_state_dict(files[name])
        total += (logits := predict(model, alone.data, "test", 32).logits)
        torch.testing.assert_close(found.readouts[name], logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.logits, total, rtol=1e-4, atol=1e-5)
    train.run(own, "tiny", "reconboost", 0)
    tensors, meta = read_tensors(model_folder("tiny", "reconboost", 0) / "last.safetensors")
    setup.model(meta["structure"]).load_state_dict(tensors)


def test_a_broken_run_goes_on_bit_for_bit(tiny: Path) -> None:
    tiny_dataset.write(tiny, third=True)
    own = params(True, training={"epochs": 4}, stage_epochs=1, rectify_epochs=1)
    goes_on_bit_for_bit(lambda folder: loop(folder, own), breaks=(1, 3))


def test_what_it_refuses() -> None:
    with pytest.raises(UserError, match=r"known_weight \(3\) must not be above label_weight \(2\)"):
        params(label_weight=2.0, known_weight=3.0)
    with pytest.raises(UserError, match="stage_epochs"):
        params(stage_epochs=0)


# Each of two processes takes an epoch of a turn and one of all, and leaves its model.
STEPS = """
for epoch in (0, 1):
    method.begin_epoch(epoch, loop)
    batch = next(loop.batches(epoch))
    method.training_step(batch, loop)
    found |= {f"input{epoch}/{name}": value.contiguous() for name, value in batch.inputs.items()}
    found |= {f"labels{epoch}": batch.labels}
found |= {f"state/{name}": value.contiguous() for name, value in method.model.named_parameters()}
"""


@pytest.mark.slow
def test_two_processes_step_by_the_mean_of_their_gradients(tiny: Path) -> None:
    settings = {"stage_epochs": 1, "rectify_epochs": 1}
    methods = {"reconboost": settings}
    own = tiny_dataset.write_params(tiny, runtime={"devices": 2}, training=PLAIN | {"epochs": 2}, methods=methods)
    ranks = [tensors for tensors, _ in training_process.steps(STEPS, "reconboost")]
    plain = Setup.open(own, "tiny", "reconboost", 0).model().train()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    copies = [copy.deepcopy(plain) for _ in ranks]  # each with running statistics of its own
    for epoch, turn in enumerate(("audio", None)):
        optimizer.zero_grad(set_to_none=True)
        for rank, each in zip(ranks, copies, strict=True):
            each.load_state_dict(dict(plain.named_parameters()), strict=False)
            batch = Batch({name: rank[f"input{epoch}/{name}"] for name in plain.modalities}, rank[f"labels{epoch}"])
            each.zero_grad(set_to_none=True)
            (reference_step(each, batch, turn, 0.0) / len(ranks)).backward()
            for p, own_p in zip(plain.parameters(), each.parameters(), strict=True):
                if own_p.grad is not None:
                    p.grad = own_p.grad.clone() if p.grad is None else p.grad + own_p.grad
        optimizer.step()
    for name, value in plain.named_parameters():
        assert torch.equal(ranks[0][f"state/{name}"], ranks[1][f"state/{name}"])
        torch.testing.assert_close(ranks[0][f"state/{name}"], value.detach(), rtol=1e-3, atol=2e-5)
