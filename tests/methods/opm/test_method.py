"""OPM and OPM with OGM by their formulas, and what they leave alone."""

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
from equimodal.methods.opm.method import OPM, drop_probabilities
from equimodal.methods.opm.settings import OPMSettings
from equimodal.models.framework import pooled_features
from equimodal.objectives import Classification
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.store import read_json
from equimodal.training.loop import Loop
from tiny_method import goes_on_bit_for_bit, learned, loop_of, opened, warned_of

TRAINER: Any = SimpleNamespace(
    device="cpu",
    processes=1,
    total=lambda value: value,
    training=SimpleNamespace(optimizer=SimpleNamespace(name="sgd")),
)
WHOLE = {"warmup": 0.0, "window": [0.0, 1.0]}
ALWAYS = {**WHOLE, "p_exe": 1.0}


def params(
    third: bool | tuple[str, ...] = False,
    training: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    methods = {
        "opm": {**WHOLE, **settings},
        "opm-ogm": {"base": "opm", "ogm": True},
        "ogm": {"window": [0.0, 1.0], "param_filter": settings.get("param_filter", "auto")},
        "aim": {"start_epoch": 0},
    }
    return tiny_dataset.params(third, training=training or {}, model=model or {}, methods=methods)


def made(
    name: str = "opm", third: bool | tuple[str, ...] = False, model: dict[str, Any] | None = None, **settings: Any
) -> tuple[OPM, Batch]:
    method, batch = opened(params(third, model=model, **settings), name)
    assert isinstance(method, OPM)
    method.prepare(TRAINER)
    method.train()
    method.begin_epoch(0, TRAINER)
    return method, batch


def reference(scores: list[float], q_base: float, lam: float) -> list[float]:
    """q^m in NumPy, from the mean of the other scores: ratio = tanh(relu(s / others - 1))."""
    s = np.array(scores)
    ratio = np.array([np.tanh(max(0.0, s[m] / np.mean(np.delete(s, m)) - 1)) for m in range(len(s))])
    return [float(np.clip(q_base * (1 + lam * r), 0, 1)) if r > 0 else 0.0 for r in ratio]


@pytest.mark.parametrize(("q_base", "lam"), [(0.5, 0.5), (0.4, 0.0), (0.9, 3.0), (0.0, 0.5)])
@pytest.mark.parametrize("scores", [[9.0, 3.0], [3.0, 9.0], [5.0, 2.0, 1.0], [4.0, 4.5, 4.9]])
def test_drop_probabilities_are_the_papers(scores: list[float], q_base: float, lam: float) -> None:
    q = drop_probabilities(torch.tensor(scores, dtype=torch.float64), q_base, lam)
    assert q.tolist() == pytest.approx(reference(scores, q_base, lam), abs=1e-12)
    again = drop_probabilities(8 * torch.tensor(scores, dtype=torch.float64), q_base, lam)
    assert torch.equal(again, q), "only ratios count"


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_the_lowest_score_is_never_dropped(count: int) -> None:
    draw = np.random.default_rng(count)
    for scores in [np.full(count, 0.1 * count), *draw.uniform(0, 1, (50, count)), np.zeros(count), np.eye(count)[0]]:
        q = drop_probabilities(torch.from_numpy(scores), 0.5, 0.5)
        assert (q[scores == scores.min()] == 0).all() and q.isfinite().all() and ((q >= 0) & (q <= 1)).all()
    # Of four equal scores the mean of the others may be rounded to less than each.
    for equal in torch.arange(1, 1000, dtype=torch.float64) / 1000:
        assert not drop_probabilities(equal.expand(count), 0.5, 0.5).any()


@pytest.mark.parametrize("third", [False, True, ("audio", "text", "facts")])
def test_features_are_dropped_and_rescaled(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    method, batch = made(third=third, **ALWAYS)
    method.eval()  # the transformer's own dropout
    names = method.model.modalities
    seen: list[dict[str, Tensor]] = []
    plain = method.model.fusion.forward
    method.model.fusion.forward = lambda z: (seen.append(z), plain(z))[1]  # type: ignore[method-assign,func-returns-value]
    with torch.no_grad():
        q = torch.tensor([0.5, 0.0, 0.25][: len(names)], dtype=torch.float64)
        z = pooled_features(method.model.encode(batch.inputs))
        kept = method._dropped(z, q)
    widths = np.array([z[name].shape[1] for name in names])
    theta = float((widths * q.numpy()).sum() / widths.sum())
    for name, probability in zip(names, q.tolist(), strict=True):
        before, after = z[name], kept[name]
        dropped = (after == 0).all(1) & before.any(1)  # an empty sequence has a feature of zeros
        torch.testing.assert_close(after[~dropped], before[~dropped] / (1 - theta))
        assert bool(dropped.any()) == (probability > 0) and not dropped.all()
    step = method(batch)
    (mixed,) = seen
    q = torch.stack([step.logs[f"{name}/q"] for name in names])
    s = [float(step.logs[f"{name}/score"]) for name in names]
    assert q.tolist() == pytest.approx(reference(s, 0.5, 0.5), abs=1e-5) and float(q.max()) > 0.5
    theta = float((torch.from_numpy(widths) * q).sum() / widths.sum())
    for name, probability in zip(names, q.tolist(), strict=True):
        keep = mixed[name].any(1)
        torch.testing.assert_close(mixed[name], z[name] * keep[:, None] / (1 - theta))
        assert bool((~keep & z[name].any(1)).any()) == (probability > 0)
    linear = method.model.fusion.linear
    logits = torch.cat([mixed[name] for name in names], 1) @ linear.weight.T + linear.bias
    assert torch.equal(step.logits, logits) or torch.allclose(step.logits, logits, atol=1e-5)
    assert torch.allclose(step.loss, functional.cross_entropy(logits, batch.labels))


def test_masks_are_bernoulli_of_each_sample() -> None:
    method = OPM(aim_toys.build(("audio", "visual")), OPMSettings(), Task(Classification(3), 9, 5, 0))
    method.begin_epoch(0, TRAINER)
    q = torch.tensor([0.3, 0.0], dtype=torch.float64)
    ones = {name: torch.ones(20000, width) for name, width in method.model.fusion.dims.items()}
    kept = method._dropped(ones, q)
    audio = kept["audio"]
    widths = list(method.model.fusion.dims.values())
    theta = 0.3 * widths[0] / sum(widths)
    assert torch.equal(audio.amin(1), audio.amax(1)), "whole samples"
    assert float((audio[:, 0] == 0).double().mean()) == pytest.approx(0.3, abs=0.015)
    assert audio.max().item() == pytest.approx(1 / (1 - theta)) and torch.allclose(kept["visual"], audio.max())
    # Identity 10: the rescale is unbiased for equal q only; theta mixes them.
    assert float(audio.double().mean()) == pytest.approx(0.7 / (1 - theta), abs=0.02)
    alike = method._dropped(ones, torch.full((2,), 0.3, dtype=torch.float64))
    assert all(float(z.double().mean()) == pytest.approx(1, abs=0.02) for z in alike.values())
    same = method._dropped(ones, torch.zeros(2, dtype=torch.float64))
    assert all(torch.equal(same[name], ones[name]) for name in ones)


def test_a_share_of_the_batches_is_modulated(tiny: Path) -> None:
    found = {}
    for p_exe in (0.0, 0.3, 1.0):
        method, _ = made(**{**WHOLE, "p_exe": p_exe})
        q = torch.tensor([0.5, 0.0], dtype=torch.float64)
        found[p_exe] = np.mean([float(method._executed(q)) for _ in range(2000)])
    assert found[0.0] == 0 and found[1.0] == 1 and found[0.3] == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize(
    ("third", "off"),
    [
        (True, {"q_base": 0.0}),
        (False, {"p_exe": 0.0}),
        pytest.param(False, {"q_base": 0.0}, marks=pytest.mark.slow),
        pytest.param(True, {"p_exe": 0.0}, marks=pytest.mark.slow),
    ],
)
def test_strength_zero_is_joint_bit_for_bit(tiny: Path, third: bool, off: dict[str, float]) -> None:
    tiny_dataset.write(tiny, third=third)
    own = params(third, training={"epochs": 2}, **off)
    for name in ("joint", "opm"):
        train.run(own, "tiny", name, 0)
    for file in ("val", "last", "test"):
        joint, opm = (learned(Path(f"models/tiny/{name}/0/{file}.safetensors")) for name in ("joint", "opm"))
        assert joint == opm


def test_with_nothing_dropped_opm_ogm_is_ogm_bit_for_bit(tiny: Path) -> None:
    own = params(training={"epochs": 2}, q_base=0.0)
    for name in ("ogm", "opm-ogm"):
        train.run(own, "tiny", name, 0)
    ogm, both = (learned(Path(f"models/tiny/{name}/0/last.safetensors")) for name in ("ogm", "opm-ogm"))
    assert ogm == both
    found = {name: read_json(Path(f"models/tiny/{name}/0/curves.json"))["epochs"] for name in ("ogm", "opm-ogm")}
    for one, other in zip(*found.values(), strict=True):
        assert {key: other["metrics"][key] for key in one["metrics"]} == one["metrics"]
        assert other["metrics"]["audio/k"] < 1


@pytest.mark.parametrize("fusion", ["concat", "sum", "film", "gated"])
def test_scores_are_of_whole_features_and_scale_the_gradients(tiny: Path, fusion: str) -> None:
    method, batch = made("opm-ogm", model={"fusion": fusion}, **ALWAYS)
    with torch.no_grad():
        alone = method.model.readout(pooled_features(method.model.encode(batch.inputs)))
    s = np.array([float(functional.softmax(u, 1)[torch.arange(16), batch.labels].sum()) for u in alone.values()])
    step = method(batch)
    assert [float(step.logs[f"{name}/score"]) for name in alone] == pytest.approx(list(s / 16), rel=1e-4)
    step.loss.backward()
    before = {name: p.grad.clone() for name, p in method.model.named_parameters() if p.grad is not None}
    method.after_backward(TRAINER)
    rho = s / s[::-1]
    k = dict(zip(alone, [1 - np.tanh(0.8 * r) if r > 1 else 1.0 for r in rho], strict=True))
    assert min(k.values()) < 1
    for name, gradient in before.items():
        factor = k[name.split(".")[1]] if name.startswith("encoders") and gradient.dim() == 4 else 1.0
        torch.testing.assert_close(
            dict(method.model.named_parameters())[name].grad, gradient * factor, rtol=1e-4, atol=0
        )
    assert method.end_epoch(0, TRAINER) == pytest.approx({f"{name}/k": value for name, value in k.items()}, rel=1e-4)


def test_opm_alone_leaves_gradients_alone(tiny: Path) -> None:
    method, batch = made(**ALWAYS)
    method(batch).loss.backward()
    before = {name: p.grad.clone() for name, p in method.model.named_parameters() if p.grad is not None}
    method.after_backward(TRAINER)
    assert all(torch.equal(dict(method.model.named_parameters())[name].grad, value) for name, value in before.items())
    assert method.end_epoch(0, TRAINER) == {}


def test_the_warm_up_is_whole_epochs_of_joint_training(tiny: Path) -> None:
    def epochs(count: int, **settings: Any) -> tuple[list[int], list[int]]:
        method = OPM(aim_toys.build(), OPMSettings(**settings), Task(Classification(3), count, 5, 0))
        dropping, scaling = [], []
        for epoch in range(count):
            method.begin_epoch(epoch, TRAINER)
            dropping += [epoch] * method._dropping
            scaling += [epoch] * method._active
        return dropping, scaling

    assert epochs(100) == (list(range(6, 100)), [])
    assert epochs(100, ogm=True) == (list(range(6, 100)), list(range(6, 60)))
    assert epochs(100, ogm=True, variant="released")[1] == list(range(6, 61))
    assert epochs(12)[0] == list(range(1, 12)) and epochs(1)[0] == [0] and epochs(3, warmup=0.99)[0] == [2]
    assert epochs(3, warmup=0)[0] == [0, 1, 2]
    own = params(training={"epochs": 2, "schedule": {"name": "constant"}}, warmup=0.5)
    losses = {}
    for name in ("joint", "opm-ogm"):
        train.run(own, "tiny", name, 0)
        found = read_json(Path(f"models/tiny/{name}/0/curves.json"))["epochs"]
        losses[name] = [entry["metrics"]["train/loss"] for entry in found]
    assert losses["joint"][0] == losses["opm-ogm"][0] and losses["joint"][1] != losses["opm-ogm"][1]


def test_validation_drops_nothing(tiny: Path) -> None:
    method, batch = made(**ALWAYS)
    joint = Setup.open(params(), "tiny", "joint", 0).model()
    joint.load_state_dict(method.model.state_dict())
    method.eval()
    assert torch.equal(method.model.predict(batch.inputs).logits, joint.eval().predict(batch.inputs).logits)


@pytest.mark.parametrize(
    ("name", "optimizer", "warned"), [("opm-ogm", "sgd", 0), ("opm-ogm", "adamw", 1), ("opm", "adam", 0)]
)
def test_optimizers_that_undo_the_factor_are_named(
    tiny: Path, caplog: pytest.LogCaptureFixture, name: str, optimizer: str, warned: int
) -> None:
    said = warned_of(optimizer, opened(params(), name)[0], caplog)
    assert [f"{optimizer} divides a constant factor" in line for line in said] == [True] * warned


@pytest.mark.parametrize("third", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_broken_run_goes_on_bit_for_bit(tiny: Path, third: bool) -> None:
    tiny_dataset.write(tiny, third=third)
    own = params(third, training={"epochs": 3}, ge=True)

    def loop(folder: str) -> Loop:
        return loop_of(folder, own, "opm-ogm")

    second = goes_on_bit_for_bit(loop, again=True)
    metrics = second.progress.history[-1]["metrics"]
    names = tiny_dataset.names(third)
    assert all(0 < metrics[f"{name}/score"] < 1 and 0 <= metrics[f"{name}/q"] <= 1 for name in names)
    assert min(metrics[f"{name}/k"] for name in names) < 1 and max(metrics[f"{name}/q"] for name in names) > 0


def test_draws_are_of_the_seed_and_the_epoch_and_no_others_move(tiny: Path) -> None:
    method, batch = made(**ALWAYS)
    state = torch.get_rng_state()
    losses = []
    for epoch in (0, 1, 0):
        method.begin_epoch(epoch, TRAINER)
        losses.append(float(method.eval()(batch).loss.detach()))
    assert torch.equal(torch.get_rng_state(), state)
    assert losses[0] == losses[2] != losses[1]


def test_what_it_refuses(tiny: Path) -> None:
    for bad, said in (
        ({"q_base": 1.5}, "q_base"),
        ({"p_exe": -1}, "p_exe"),
        ({"lam": -1}, "lam"),
        ({"warmup": 1}, "warmup"),
    ):
        with pytest.raises(UserError, match=f"methods.opm.{said}"):
            params(**bad)
    with pytest.raises(UserError, match=r"window \(0.5, 0.2\) must be two shares of the run"):
        params(window=[0.5, 0.2])
