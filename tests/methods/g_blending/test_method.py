"""G-Blending by its formulas: heads, weights from training each alone, and what it leaves alone."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import tiny_dataset
from equimodal.errors import UserError
from equimodal.methods.base import Batch
from equimodal.methods.g_blending.method import GBlending, blended, changes
from equimodal.models.frozen import evaluation_mode
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.stages.steps import Steps
from equimodal.store import read_tensors
from equimodal.training.loop import Loop
from tiny_method import goes_on_bit_for_bit, learned, loop_of, opened

SEQUENCES = ("audio", "text", "facts")  # features of unequal width, padded and plain
PLAIN = {"augment": {"crop": False, "flip": False}}


def params(
    third: bool | tuple[str, ...] = False,
    training: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    methods = {"g-blending": settings, "aim": {"start_epoch": 0}}
    return tiny_dataset.params(third, training=training or {}, model=model or {}, methods=methods)


def given(*weights: float) -> dict[str, Any]:
    return {"mode": "offline", "weights": list(weights)}


def made(
    third: bool | tuple[str, ...] = False, model: dict[str, Any] | None = None, **settings: Any
) -> tuple[GBlending, Batch]:
    method, batch = opened(params(third, model=model, **settings), "g-blending")
    assert isinstance(method, GBlending)
    return method, batch


def loop(
    folder: str, third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any
) -> Loop:
    return loop_of(folder, params(third, training, **settings), "g-blending")


def reference(before: Any, after: Any, least: float) -> list[float]:
    """w by NumPy from losses [H, 2] (training, held out) before and after."""
    raw = []
    for (t0, v0), (t1, v1) in zip(np.asarray(before), np.asarray(after), strict=True):
        overfitting = (v1 - t1) - (v0 - t0)
        raw.append(max(0.0, v0 - v1) / max(abs(overfitting), least) ** 2)
    return [w / sum(raw) if sum(raw) else 0.0 for w in raw]


def losses(seed: int, heads: int = 3) -> tuple[Tensor, Tensor]:
    draw = np.random.default_rng(seed)
    before = draw.uniform(1.5, 2, (heads, 2))
    after = before - draw.uniform(-0.1, 0.9, (heads, 2))
    return torch.from_numpy(before), torch.from_numpy(after)


@pytest.mark.parametrize("heads", [3, 4])
def test_weights_are_gain_over_squared_overfitting(heads: int) -> None:
    silent = 0
    for seed in range(9):
        before, after = losses(seed, heads)
        w = blended(*changes(before, after), 1e-3)
        assert w.tolist() == pytest.approx(reference(before, after, 1e-3), abs=1e-12)
        assert float(w.sum()) == pytest.approx(1)
        silent += int((w == 0).sum())
        c = blended(*changes(7 * before, 7 * after), 1e-3)  # identity 13 of methods.md 26
        torch.testing.assert_close(c, w)
        sums = torch.tensor([9.0, 1.0], dtype=torch.float64)  # of nine times as many training samples
        assert not torch.allclose(blended(*changes(sums * before, sums * after), 1e-3), w)
    assert silent > 0, "a head whose held-out loss rises"


def test_overfitting_that_hardly_changes_is_bounded_and_no_gain_gives_no_weight() -> None:
    gain = torch.tensor([0.2, 0.2, 0.2], dtype=torch.float64)
    w = blended(gain, torch.tensor([0.0, -1e-9, 0.02], dtype=torch.float64), 0.01)
    assert w.tolist() == pytest.approx([4 / 9, 4 / 9, 1 / 9])
    assert not blended(-gain, gain, 0.01).any()
    unknown = torch.tensor([0.5, float("nan"), -float("inf")], dtype=torch.float64)
    assert blended(unknown, unknown, 0.01).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("third", "fusion", "weights"),
    [
        (False, "concat", [0.2, 0.3, 0.5]),
        (False, "film", [0.014, 0.63, 0.356]),
        (False, "gated", [0.4, 0.0, 0.6]),
        (True, "sum", [1.0, 2.0, 3.0, 4.0]),
        (SEQUENCES, "concat", [0.1, 0.2, 0.3, 0.0]),
    ],
)
def test_a_step_is_the_weighted_sum_of_the_heads_losses(
    tiny: Path, third: bool | tuple[str, ...], fusion: str, weights: list[float]
) -> None:
    tiny_dataset.write(tiny, third=third)
    method, batch = made(third, {"fusion": fusion}, **given(*weights))
    other = copy.deepcopy(method)
    torch.manual_seed(3)  # dropout of the transformer
    step = method(batch)
    step.loss.backward()
    torch.manual_seed(3)
    outputs = other.model(batch.inputs)
    each = []
    for name, z in outputs.features.items():
        head = other.heads[name].linear
        each.append(functional.cross_entropy(z @ head.weight.T + head.bias, batch.labels))
    each.append(functional.cross_entropy(outputs.logits, batch.labels))
    total = sum(w * loss for w, loss in zip(weights, each, strict=True))
    assert isinstance(total, Tensor)
    total.backward()
    torch.testing.assert_close(step.loss, total)
    assert torch.equal(step.logits, outputs.logits)
    names = [*method.model.modalities, "fused"]
    found = {name: float(loss.detach()) for name, loss in zip(names, each, strict=True)}
    assert {k: float(v) for k, v in step.logs.items()} == pytest.approx(
        {f"{name}/loss": found[name] for name, w in zip(names, weights, strict=True) if w > 0}
    )
    theirs = dict(other.named_parameters())
    for name, p in method.named_parameters():
        expected = theirs[name].grad
        if p.grad is None:  # of weight 0
            assert expected is None or not expected.any()
        else:
            assert expected is not None
            torch.testing.assert_close(p.grad, expected, rtol=1e-4, atol=1e-6)
    for name, w in zip(names[:-1], weights, strict=False):
        assert (method.heads[name].linear.weight.grad is None) == (w == 0)


def trained_alone(run: Loop, name: str, epoch: int, epochs: int) -> tuple[list[float], list[float]]:
    """(training, held-out) losses of a head before and after it is trained alone, by plain autograd and SGD."""
    method = run.method
    assert isinstance(method, GBlending)
    plain = copy.deepcopy(method)
    parts: list[nn.Module] = (
        [plain.model] if name == "fused" else [plain.model.encoders[name], plain.heads[name].linear]
    )
    parameters = [p for part in parts for p in part.parameters()]
    rates = [0.05 * (1 + np.cos(np.pi * (epoch + e) / run.training.epochs)) / 2 for e in range(epochs)]

    def logits(inputs: dict[str, Any]) -> Tensor:
        if name == "fused":
            found: Tensor = plain.model(inputs).logits
            return found
        alone: Tensor = plain.heads[name].linear(plain.model.encoders[name](inputs[name]))
        return alone

    @torch.no_grad()
    def measured() -> list[float]:
        found = []
        with evaluation_mode(plain):
            for split in ("train", "held-out"):
                pairs = [(logits(x), y) for x, y in run.data.evaluation_batches(split, 7)]  # type: ignore[arg-type]
                u, y = (torch.cat(part).double() for part in zip(*pairs, strict=True))
                found.append(float(-u.log_softmax(1)[torch.arange(len(y)), y.long()].mean()))
        return found

    before = measured()
    optimizer = torch.optim.SGD(parameters, momentum=0.9, weight_decay=1e-4)
    other = copy.copy(run)
    other.stream = (f"g-blending-{epoch}",)
    plain.train()
    for e in range(epochs):
        optimizer.param_groups[0]["lr"] = rates[e]
        for batch in other.batches(e):
            optimizer.zero_grad()
            functional.cross_entropy(logits(batch.inputs), batch.labels).backward()
            optimizer.step()
    return before, measured()


@pytest.mark.parametrize(("third", "epoch"), [(False, 0), (True, 2)])
def test_an_estimate_trains_each_head_alone(tiny: Path, third: bool, epoch: int) -> None:
    tiny_dataset.write(tiny, third=third)
    run = loop("run", third, {"epochs": 5, "batch_size": 24, **PLAIN}, super_epoch=2, held_out=0.2)
    method = run.method
    assert isinstance(method, GBlending)
    run.progress.epoch = epoch
    method.weights = [0.1] * len(method.names)
    found = [trained_alone(run, name, epoch, 2) for name in method.names]
    before, after = ([pair[k] for pair in found] for k in (0, 1))
    state = {name: value.clone() for name, value in method.state_dict().items()}
    random, mode = torch.get_rng_state(), method.training
    method.begin_epoch(epoch, run)
    method._blend(run)
    assert method.weights == pytest.approx(reference(before, after, 1e-3), rel=2e-2, abs=1e-3)
    assert sum(method.weights) == pytest.approx(1) and sum(w > 0.01 for w in method.weights) >= 2
    logged = method.end_epoch(epoch, run)
    for name, (t0, v0), (t1, v1) in zip(method.names, before, after, strict=True):
        assert logged[f"{name}/gain"] == pytest.approx(v0 - v1, rel=1e-2, abs=1e-4)
        assert logged[f"{name}/overfitting"] == pytest.approx((v1 - t1) - (v0 - t0), rel=1e-2, abs=1e-4)
    assert all(torch.equal(value, state[name]) for name, value in method.state_dict().items()), "copies are trained"
    assert torch.equal(torch.get_rng_state(), random) and method.training == mode


def counting(monkeypatch: pytest.MonkeyPatch, weights: list[list[float]]) -> list[tuple[int, str, bool]]:
    """Rehearsals that are asked for, none of which is made; estimates give `weights` in turn."""
    asked: list[tuple[int, str, bool]] = []
    monkeypatch.setattr(
        Loop, "rehearse", lambda self, method, epochs, name, scheduled: asked.append((epochs, name, scheduled))
    )
    turns = iter(weights)
    monkeypatch.setattr(
        "equimodal.methods.g_blending.method.blended",
        lambda *_: torch.tensor(next(turns), dtype=torch.float64),
    )
    return asked


@pytest.mark.parametrize(
    ("settings", "spans"),
    [({"super_epoch": 2}, {0: 2, 2: 2, 4: 1}), ({}, {0: 5}), ({"mode": "offline", "super_epoch": 2}, {0: 5})],
)
def test_estimates_come_every_super_epoch_and_no_later_than_the_end(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], spans: dict[int, int]
) -> None:
    given = [[0.5, 0.25, 0.25], [0.0, 0.0, 0.0], [0.0, 0.25, 0.75]]
    asked = counting(monkeypatch, given)
    run = loop("run", training={"epochs": 5}, **settings)
    run.run()
    assert asked == [(epochs, f"g-blending-{at}", True) for at, epochs in spans.items() for _ in range(3)]
    names = ("audio", "visual", "fused")
    used = [[entry["metrics"][f"{name}/weight"] for name in names] for entry in run.progress.history]
    # Where no head gains, the weights stay.
    assert used == [given[0]] * (4 if len(spans) > 1 else 5) + ([given[2]] if len(spans) > 1 else [])
    assert ["audio/gain" in entry["metrics"] for entry in run.progress.history] == [e in spans for e in range(5)]


def test_outside_a_run_an_estimate_looks_one_epoch_ahead(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an epoch costs: an estimate of so many epochs comes once in as many."""
    asked: list[int] = []
    monkeypatch.setattr(Loop, "rehearse", lambda self, method, epochs, name, scheduled: asked.append(epochs))
    steps = Steps(Setup.open(params(super_epoch=3), "tiny", "g-blending", 0))
    steps.run(2)
    assert asked == [1, 1, 1]
    steps.begin(0)
    assert asked == [1] * 6


def test_held_out_samples_are_never_trained_on(tiny: Path) -> None:
    run = loop("run", held_out=0.3, super_epoch=3)
    assert run.data.count("held-out") == 18 and run.data.count("train") == 42
    kept = loop("given", **given(0.2, 0.3, 0.5))
    assert kept.data.count("train") == 60, "given weights need no estimate"


def test_before_any_estimate_all_weights_are_equal(tiny: Path) -> None:
    assert made()[0].weights == [1 / 3] * 3
    assert made(**given(0.014, 0.63, 0.356))[0].weights == [0.014, 0.63, 0.356]


def test_the_fused_loss_alone_is_joint_bit_for_bit(tiny: Path) -> None:
    own = params(training={"epochs": 2}, **given(0, 0, 1))
    for name in ("joint", "g-blending"):
        train.run(own, "tiny", name, 0)
    for file in ("val", "last", "test"):
        joint, blend = (Path(f"models/tiny/{name}/0/{file}.safetensors") for name in ("joint", "g-blending"))
        assert learned(joint) == learned(blend)


def test_a_broken_run_goes_on_bit_for_bit(tiny: Path) -> None:
    """Killed within a super-epoch, whose weights are kept; those of the next one are estimated after it."""
    short = {"batch_size": 30}
    second = goes_on_bit_for_bit(lambda folder: loop(folder, training=short, super_epoch=2))
    kept = [entry["metrics"]["audio/weight"] for entry in second.progress.history]
    assert kept[0] == kept[1] != kept[2], "one estimate a super-epoch"


def test_only_the_framework_is_exported_and_it_starts_as_joint_s(tiny: Path) -> None:
    method, _ = made()
    joint = Setup.open(params(), "tiny", "joint", 0).model().state_dict()
    assert all(torch.equal(value, joint[name]) for name, value in method.model.state_dict().items())
    torch.rand(3)
    own = GBlending(method.model, method.settings, method.task).state_dict()
    assert all(torch.equal(value, own[name]) for name, value in method.state_dict().items()), "heads by the seed"
    assert float(own["heads.audio.linear.weight"].std()) > 0.05 and not own["heads.audio.linear.bias"].any()
    run = loop("run", training={"epochs": 1}, **given(0.3, 0.3, 0.4))
    before = {name: value.clone() for name, value in run.method.heads.state_dict().items()}  # type: ignore[operator,union-attr]
    run.run()
    assert set(read_tensors(Path("run/val-0.safetensors"))[0]) == set(joint)
    after = run.method.heads.state_dict()  # type: ignore[operator,union-attr]
    assert all(not torch.equal(value, after[name]) for name, value in before.items()), "heads are trained"


def test_a_regression_is_blended_too(tiny: Path) -> None:
    own = tiny_dataset.write_regression(tiny, methods={"g-blending": {"mode": "offline"}}, training={"batch_size": 30})
    run = loop_of("run", own, "g-blending")
    run.run(until=1)
    weights = [run.progress.history[-1]["metrics"][f"{name}/weight"] for name in ("audio", "visual", "fused")]
    assert sum(weights) == pytest.approx(1) and weights != [1 / 3] * 3


def test_what_it_refuses(tiny: Path) -> None:
    said = r"methods.g-blending.weights has 2 weights for 2 modalities \(audio, visual\) and the fused head"
    with pytest.raises(UserError, match=said):
        params(**given(0.5, 0.5)).check_pair("tiny", "g-blending")
    with pytest.raises(UserError, match="weights are given in mode offline"):
        params(weights=[0.2, 0.3, 0.5])
    with pytest.raises(UserError, match="weights are all 0"):
        params(**given(0, 0, 0))
    for bad in ({"held_out": 0.0}, {"super_epoch": 0}, {"least_overfitting": 0.0}):
        with pytest.raises(UserError, match=f"methods.g-blending.{next(iter(bad))}"):
            params(**bad)
