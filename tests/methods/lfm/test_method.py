"""LFM by its formulas: alignment in NumPy, the share by differentiating through a step, steps by plain autograd."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

import tiny_dataset
import training_process
from equimodal.errors import UserError
from equimodal.methods.base import Batch, Method
from equimodal.methods.lfm.alignment import contrastive, jensen_shannon
from equimodal.params import Params
from equimodal.stages import train
from equimodal.training.loop import Loop
from tiny_method import goes_on_bit_for_bit, learned, loop_of, opened

SEQUENCES = ("audio", "text", "facts")  # features of unequal width
PLAIN = {
    "optimizer": {"lr": 0.05, "momentum": 0.0, "weight_decay": 0.0},
    "schedule": {"name": "constant"},
    "augment": {"crop": False, "flip": False},
}


def params(third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any) -> Params:
    model = {"fusion": settings.pop("fusion", "concat")}
    methods = {"lfm": settings, "aim": {"start_epoch": 0}}
    return tiny_dataset.params(third, training=training or {}, model=model, methods=methods)


def loop(folder: str, own: Params) -> Loop:
    return loop_of(folder, own, "lfm")


def normal(count: int, width: int, seed: int = 0) -> list[Any]:
    draw = np.random.default_rng(seed)
    return [draw.normal(size=(5, width)) + m for m in range(count)]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_contrastive_loss_by_loops(count: int) -> None:
    features, temperature = normal(count, 7), 0.3
    losses = []
    for m in range(count):
        for n in range(count):
            for i in range(5 if m != n else 0):
                z = features[m][i]
                near = [z @ x / np.linalg.norm(z) / np.linalg.norm(x) / temperature for x in features[n]]
                losses.append(np.log(np.exp(near).sum()) - near[i])
    found = contrastive([torch.from_numpy(z) for z in features], temperature)
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)
    scaled = contrastive([torch.from_numpy(z * (m + 2)) for m, z in enumerate(features)], temperature)
    assert float(scaled) == pytest.approx(float(found), rel=1e-5), "directions alone count"


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_divergence_by_numpy(count: int) -> None:
    logits = normal(count, 4, 1)
    p = [np.exp(u) / np.exp(u).sum(1, keepdims=True) for u in logits]
    values = []
    for m in range(count):
        for n in range(m):
            mixed = (p[m] + p[n]) / 2
            values.append(sum((q * np.log(q / mixed)).sum(1) for q in (p[m], p[n])).mean() / 2)
    log_p = [torch.from_numpy(u).log_softmax(1) for u in logits]
    assert float(jensen_shannon(log_p)) == pytest.approx(np.mean(values), rel=1e-5)
    assert float(jensen_shannon(log_p[:1] * 3)) == pytest.approx(0, abs=1e-6)
    far = torch.tensor([[0.0, -80.0], [-80.0, 0.0]])
    assert float(jensen_shannon([far, far.flip(1)])) == pytest.approx(np.log(2)), "its upper limit"


def parts(
    method: Method[Any], names: list[str], variant: str, batch: Batch, model: Any = None
) -> tuple[Tensor, Tensor]:
    """Cross entropy and alignment of a batch, of a forward pass `model` of the method's model."""
    outputs = (model or method.model)(batch.inputs)
    z = outputs.features
    if variant == "paper":
        weights = dict(method.projections.named_parameters())
        shown = [z[m] @ weights[f"{m}.weight"].T if weights else z[m] for m in names]
        return functional.cross_entropy(outputs.logits, batch.labels), contrastive(shown, 0.3)
    heads: Any = method.model.fusion
    u = [z[m] @ heads.linears[m].weight.T + heads.linears[m].bias for m in names]
    torch.testing.assert_close(outputs.logits, sum(u) / len(u))
    aligned = jensen_shannon([each.log_softmax(1) for each in u])
    return functional.cross_entropy(sum(u) / len(u), batch.labels), aligned


@pytest.mark.parametrize(
    ("third", "fusion", "variant"),
    [
        (False, "concat", "paper"),
        (False, "film", "paper"),
        (False, "gated", "released"),
        (True, "sum", "paper"),
        (True, "concat", "released"),
        (SEQUENCES, "concat", "paper"),
        (SEQUENCES, "concat", "released"),
    ],
)
def test_a_step_mixes_both_losses(tiny: Path, third: bool | tuple[str, ...], fusion: str, variant: str) -> None:
    tiny_dataset.write(tiny, third=third)
    names = tiny_dataset.names(third)
    settings = {"integration": "fixed", "share": 0.3, "temperature": 0.3, "variant": variant}
    method, batch = opened(params(third, fusion=fusion, **settings), "lfm")
    other = copy.deepcopy(method.train())
    assert bool(method.projections) == (third is SEQUENCES and variant == "paper")
    torch.manual_seed(3)  # dropout
    step = method(batch)
    step.loss.backward()
    torch.manual_seed(3)
    fitting, alignment = parts(other, names, variant, batch)
    ((2 if variant == "released" else 1) * (0.7 * fitting + 0.3 * alignment)).backward()
    assert float(step.logs["fitting/loss"]) == pytest.approx(float(fitting.detach()), rel=1e-5)
    assert float(step.logs["alignment/loss"]) == pytest.approx(float(alignment.detach()), rel=1e-5)
    assert float(step.logs["alignment/share"]) == pytest.approx(0.3)
    trained = {id(p) for p in method.main_parameters()}
    for (name, p), q in zip(method.named_parameters(), other.parameters(), strict=True):
        assert id(p) in trained and p.grad is not None and q.grad is not None, name
        torch.testing.assert_close(p.grad, q.grad, msg=name, rtol=1e-3, atol=1e-5)


def test_the_heuristic_share_falls_from_epoch_to_epoch(tiny: Path) -> None:
    history = loop("run", params(training={"epochs": 4}, integration="heuristic")).run().history
    shares = [epoch["metrics"]["alignment/share"] for epoch in history]
    assert shares == pytest.approx([1 - np.exp(-1 / t) for t in (1, 2, 3, 4)], rel=1e-5)


@pytest.mark.parametrize(("third", "variant"), [(False, "paper"), (SEQUENCES, "paper"), (True, "released")])
def test_the_learned_share_follows_the_derivative_through_a_step(
    tiny: Path, third: bool | tuple[str, ...], variant: str
) -> None:
    tiny_dataset.write(tiny, third=third)
    settings = {"integration": "learned", "share": 0.6, "share_rate": 1.2, "temperature": 0.3, "variant": variant}
    run = loop("run", params(third, PLAIN, **settings))
    method, names = run.method.train(), tiny_dataset.names(third)
    for part in method.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if isinstance(part, nn.MultiheadAttention):
            part.dropout = 0.0
    first, second = list(run.batches(0))[:2]
    start = copy.deepcopy(method)
    method.training_step(first, run)
    assert float(method.share) == pytest.approx(0.6), "of the first step nothing is known"
    step = method.training_step(second, run)
    # The same by differentiating CE(second batch) at theta - eta d((1 - w) CE + w A) by w.
    scale, w = 2 if variant == "released" else 1, torch.tensor(0.6, requires_grad=True)
    fitting, alignment = parts(start, names, variant, first)
    theta = dict(start.named_parameters())
    g = torch.autograd.grad(fitting, list(theta.values()), retain_graph=True, materialize_grads=True)
    a = torch.autograd.grad(alignment, list(theta.values()), materialize_grads=True)
    moved = {
        name: p.detach() - 0.05 * scale * ((1 - w) * gg + w * aa)
        for (name, p), gg, aa in zip(theta.items(), g, a, strict=True)
    }
    model = {name.removeprefix("model."): p for name, p in moved.items() if name.startswith("model.")}
    logits = functional_call(start.model, model, (second.inputs,)).logits
    later = functional.cross_entropy(logits, second.labels)
    derivative = torch.autograd.grad(later, w, retain_graph=True)[0]
    ahead = torch.autograd.grad(later, list(moved.values()), materialize_grads=True)
    lengths = [
        sum(float((x**2).sum()) for x in part) ** 0.5 for part in (ahead, [x - y for x, y in zip(a, g, strict=True)])
    ]
    wanted = -float(derivative) / (0.05 * scale * lengths[0] * lengths[1])
    assert abs(wanted) > 0.02
    assert float(step.logs["alignment/wanted"]) == pytest.approx(wanted, rel=0.02, abs=1e-4)
    assert float(method.share) == pytest.approx(0.6 + 1.2 / method.task.steps * wanted, rel=1e-3)


def test_a_learned_share_stays_within_its_limits(tiny: Path) -> None:
    run = loop("run", params(training={"epochs": 2}, share_rate=1e4))
    run.run()
    assert float(run.method.share) in (pytest.approx(0.05), pytest.approx(0.95))


def test_share_zero_measures_no_alignment(tiny: Path) -> None:
    tiny_dataset.write(tiny, third=SEQUENCES)
    method, batch = opened(params(SEQUENCES, integration="fixed", share=0.0), "lfm")
    assert not method.projections and method(batch).logs == {}


def test_share_zero_is_joint_bit_for_bit(tiny: Path) -> None:
    own = params(training={"epochs": 2}, integration="fixed", share=0.0)
    for name in ("joint", "lfm"):
        train.run(own, "tiny", name, 0)
    for file in ("val", "last", "test"):
        first, second = (Path(f"models/tiny/{name}/0/{file}.safetensors") for name in ("joint", "lfm"))
        assert learned(first) == learned(second)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_a_regression_is_aligned_too(tiny: Path, variant: str) -> None:
    own = tiny_dataset.write_regression(tiny, methods={"lfm": {"variant": variant}})
    metrics = loop("run", own).run(until=1).history[0]["metrics"]
    assert metrics["alignment/loss"] > 0 and -1 <= metrics["alignment/wanted"] <= 1


def test_half_precision_learns_about_the_same_share(tiny: Path) -> None:
    shares = {}
    for precision in ("32-true", "16-mixed"):
        own = tiny_dataset.params(runtime={"precision": precision}, training=PLAIN, methods={"lfm": {}})
        run = loop(precision, own)
        run.method.train()
        for batch in list(run.batches(0))[:2]:
            run.method.training_step(batch, run)
        shares[precision] = float(run.method.share)
    assert shares["16-mixed"] == pytest.approx(shares["32-true"], abs=0.01) != pytest.approx(0.8, abs=1e-3)


def test_a_broken_run_goes_on_bit_for_bit(tiny: Path) -> None:
    tiny_dataset.write(tiny, third=SEQUENCES)
    own = params(SEQUENCES, training={"epochs": 2})
    goes_on_bit_for_bit(lambda folder: loop(folder, own))


def test_a_learned_share_starts_within_its_limits(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"share \(1\) that is learned starts from 0.05 to 0.95"):
        params(share=1.0)


# Each of two processes takes two steps and leaves its share.
STEPS = """
for batch in list(loop.batches(0))[:2]:
    method.training_step(batch, loop)
found = {"share": method.share, "labels": batch.labels}
"""


@pytest.mark.slow
def test_two_processes_learn_one_share(tiny: Path) -> None:
    training = {"batch_size": 8}
    tiny_dataset.write_params(tiny, runtime={"devices": 2}, training=training, methods={"lfm": {}})
    first, second = (tensors for tensors, _ in training_process.steps(STEPS, "lfm"))
    assert not torch.equal(first["labels"], second["labels"])
    assert torch.equal(first["share"], second["share"]) and float(first["share"]) != pytest.approx(0.8, abs=1e-4)
