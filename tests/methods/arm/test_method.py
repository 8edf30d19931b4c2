"""ARM by its formulas: information by histograms, factors of running means, and predictions of a sample alone."""

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
from equimodal.errors import UserError
from equimodal.methods.arm.information import binned, marginal_and_conditional
from equimodal.methods.arm.method import ARM, factors
from equimodal.methods.base import Batch, Method
from equimodal.models.framework import pooled_features
from equimodal.models.padded import Input
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.store import read_tensors
from equimodal.training.measure import predict
from tiny_method import goes_on_bit_for_bit, loop_of, opened

SEQUENCES = ("audio", "text", "facts")  # features of unequal width


def params(third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any) -> Any:
    return tiny_dataset.params(third, training=training or {}, methods={"arm": settings, "aim": {"start_epoch": 0}})


def made(third: bool | tuple[str, ...] = False, **settings: Any) -> tuple[ARM, Batch]:
    method, batch = opened(params(third, **settings), "arm")
    assert isinstance(method, ARM)
    return method, batch


def shared(counts: Any) -> float:
    """2 sum_z p(z) I(x; y | z) / sum_z p(z) (H(x | z) + H(y | z)) of a table of counts [x, y, z], state by state."""
    information, either = 0.0, 0.0
    for state in range(counts.shape[2]):
        table = counts[:, :, state] / counts.sum()
        share = table.sum()
        if share == 0:
            continue
        p = table / share
        px, py = p.sum(1), p.sum(0)
        information += share * sum(
            p[i, j] * np.log(p[i, j] / (px[i] * py[j])) for i, j in zip(*np.nonzero(p), strict=True)
        )
        either -= share * sum((q[q > 0] * np.log(q[q > 0])).sum() for q in (px, py))
    return float(2 * information / either) if either > 0 else 0.0


def measured(features: Any, fused: Any, bins: int = 30, conditional_bins: int = 2) -> Any:
    """nmi and cnmi [2, M] by NumPy's histograms, of features [M, n] and the fused one [n]."""
    found = []
    for m, x in enumerate(features):
        marginal = np.histogram2d(x, fused, bins)[0][:, :, None]
        others = [z for o, z in enumerate(features) if o != m]
        table = np.histogramdd(np.stack([x, fused, *others], 1), conditional_bins)[0]
        found.append([shared(marginal), shared(table.reshape(conditional_bins, conditional_bins, -1))])
    return np.array(found).T


@pytest.mark.parametrize("count", [2, 3, 4])
def test_information_by_histograms_of_numpy(count: int) -> None:
    draw = np.random.default_rng(count)
    z = draw.normal(size=(count, 40, 8))
    z[1] = np.maximum(z[1], 0)
    h = z[0] + 0.3 * z[1] + 0.5 * draw.normal(size=(40, 8))
    for bins, conditional_bins in ((30, 2), (7, 3)):
        found = marginal_and_conditional(torch.from_numpy(z), torch.from_numpy(h), bins, conditional_bins)
        expected = measured(z.reshape(count, -1), h.reshape(-1), bins, conditional_bins)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)
        scaled = marginal_and_conditional(4 * torch.from_numpy(z), torch.from_numpy(h), bins, conditional_bins)
        assert torch.equal(scaled, found), "factors do not change what they are made of"
    assert found[0, 0] > found[0, -1] > 0


def test_information_at_its_ends() -> None:
    x = torch.arange(12.0).reshape(4, 3)
    y = x.flip(0)
    marginal, conditional = marginal_and_conditional(torch.stack([x, y]), x, 6, 2)
    assert float(marginal[0]) == pytest.approx(1) and float(marginal[1]) == pytest.approx(0.6131, abs=0.4)
    assert conditional.tolist() == [0, 0], "each tells which half the other is in"
    still = torch.ones(4, 3)
    assert marginal_and_conditional(torch.stack([still, still]), still, 6, 2).tolist() == [[0, 0], [0, 0]]
    broken = torch.tensor([torch.nan, torch.inf, 1.0])
    assert binned(broken, 6).tolist() == [0, 0, 0] and binned(torch.tensor([0.0, 1.0, 0.5]), 2).tolist() == [0, 1, 1]


def test_factors_by_hand() -> None:
    two = factors(torch.tensor([0.2, 0.05], dtype=torch.float64), 10)
    np.testing.assert_allclose(two.numpy(), [0.25, 4.0])
    three = factors(torch.tensor([0.2, 0.05, 0.1], dtype=torch.float64), 10)
    np.testing.assert_allclose(three.numpy(), [0.075 / 0.2, 0.15 / 0.05, 0.125 / 0.1])
    assert factors(torch.tensor([0.2, 0.01], dtype=torch.float64), 10).tolist() == [0.1, 10]
    assert factors(torch.tensor([0.2, -0.3], dtype=torch.float64), 5).tolist() == [0.2, 5]
    for alike in (0.3, 0.0, -1.0):
        assert factors(torch.full((3,), alike, dtype=torch.float64), 10).tolist() == [1, 1, 1]


class Reference:
    """The method's steps in NumPy and plain autograd, on a copy of its model."""

    def __init__(self, method: ARM, weight: float, momentum: float, crossed: bool) -> None:
        self.model = copy.deepcopy(method.model)
        self.names = self.model.modalities
        self.weight, self.momentum, self.crossed = weight, momentum, crossed
        self.factors = dict.fromkeys(self.names, 1.0)
        self.pcmi: Any = None

    def step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        head: Any = self.model.fusion
        z = pooled_features(self.model.encode(batch.inputs))
        z = {m: head.maps[m](z[m]) if m in head.maps else z[m] for m in self.names}
        side = torch.cat([self.factors[m] * z[m] for m in self.names], 1)
        h = side @ head.join.weight.T + head.join.bias
        logits = {m: v @ head.linear.weight.T + head.linear.bias for m, v in {"": h, **z}.items()}
        loss = functional.cross_entropy(logits[""], batch.labels)
        loss = loss + self.weight * sum(functional.cross_entropy(logits[m], batch.labels) for m in self.names)
        flat = np.stack([v.detach().numpy().reshape(-1) for v in z.values()])
        nmi, cnmi = measured(flat, h.detach().numpy().reshape(-1))
        at = torch.arange(len(batch.labels)), batch.labels
        c = {m: float(u.detach().softmax(1)[at].mean()) for m, u in logits.items()}
        own = [np.mean([c[o] for o in self.names if (o != m) == self.crossed]) for m in self.names]
        pcmi = c[""] * nmi + np.array(own) * (nmi - cnmi)
        self.pcmi = pcmi if self.pcmi is None else self.momentum * self.pcmi + (1 - self.momentum) * pcmi
        for place, m in enumerate(self.names):
            ratio = np.mean(np.delete(self.pcmi, place)) / self.pcmi[place]
            self.factors[m] = float(np.clip(ratio, 0.1, 10))
        return loss, pcmi


@pytest.mark.parametrize(
    ("third", "variant", "weight", "momentum"),
    [
        (False, "paper", 0.0, 0.9),
        (False, "released", 0.5, 0.0),
        (True, "released", 0.0, 0.6),
        (SEQUENCES, "paper", 0.5, 0.6),
    ],
)
def test_steps_by_numpy_and_autograd(
    tiny: Path, third: bool | tuple[str, ...], variant: str, weight: float, momentum: float
) -> None:
    tiny_dataset.write(tiny, third=third)
    method, batch = made(third, variant=variant, weight=weight, momentum=momentum)
    method.eval()  # no dropout: both passes are the same
    reference = Reference(method, weight, momentum, variant == "released")
    for inputs, labels in (
        (batch.inputs, batch.labels),
        ({name: x if name == "audio" else half(x) for name, x in batch.inputs.items()}, batch.labels),
        (batch.inputs, batch.labels.flip(0)),
    ):
        method.zero_grad()
        reference.model.zero_grad()
        step = method(Batch(inputs, labels))
        loss, pcmi = reference.step(Batch(inputs, labels))
        step.loss.backward()
        loss.backward()
        torch.testing.assert_close(step.loss, loss)
        for (name, parameter), other in zip(method.model.named_parameters(), reference.model.parameters(), strict=True):
            if name.startswith("fusion.maps") and other.grad is None:
                continue
            torch.testing.assert_close(parameter.grad, other.grad, msg=name, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose([float(step.logs[f"{m}/pcmi"]) for m in reference.names], pcmi, rtol=1e-3)
        np.testing.assert_allclose(method.pcmi.numpy(), reference.pcmi, rtol=1e-3)
        found = [float(step.logs[f"{m}/factor"]) for m in reference.names]
        np.testing.assert_allclose(found, list(reference.factors.values()), rtol=1e-3)
        np.testing.assert_allclose(method.head.factors.numpy(), found, rtol=1e-6)
    assert max(found) > 1.02 and int(method.batches) == 3


def half(x: Input) -> Any:
    """The same input at half its size."""
    if isinstance(x, Tensor):
        return x / 2
    other = copy.copy(x)
    other.values = x.values / 2
    return other


@pytest.mark.parametrize("third", [False, SEQUENCES])
def test_predictions_are_of_a_sample_alone_and_know_no_label(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    loop = loop_of("run", params(third), "arm")
    loop.run(until=2)
    model, data = loop.method.model, loop.data
    state = {name: value.clone() for name, value in loop.method.state_dict().items()}
    assert float((state["model.fusion.factors"] - 1).abs().max()) > 0.01
    whole = predict(model, data, "test", 24)
    for size in (1, 5, 24):
        found = predict(model, data, "test", size)
        torch.testing.assert_close(found.logits, whole.logits, rtol=1e-5, atol=1e-6)
        for name, readout in found.readouts.items():
            torch.testing.assert_close(readout, whole.readouts[name], rtol=1e-5, atol=1e-6)
    # In the company of others, a batch that would have other measures altogether.
    inputs = next(data.evaluation_batches("test", 24))[0]
    model.eval()
    with torch.no_grad():
        others = {name: copy.deepcopy(x) for name, x in inputs.items()}
        for x in others.values():
            (x if isinstance(x, Tensor) else x.values)[1:].mul_(-30)
        torch.testing.assert_close(model.predict(others).logits[0], whole.logits[0], rtol=1e-5, atol=1e-6)
    plain = data.evaluation_batches

    def relabelled(*split: Any) -> Any:
        return ((inputs, (labels + 1) % 3) for inputs, labels in plain(*split))

    data.evaluation_batches = relabelled  # type: ignore[method-assign]
    again = predict(model, data, "test", 24)
    assert torch.equal(again.logits, whole.logits) and not torch.equal(again.labels, whole.labels)
    assert all(torch.equal(value, state[name]) for name, value in loop.method.state_dict().items()), "no state moved"


def test_the_exported_model_has_the_factors(tiny: Path) -> None:
    own = params()
    train.run(own, "tiny", "arm", 0)
    tensors, meta = read_tensors(Path("models/tiny/arm/0/last.safetensors"))
    assert meta["structure"] == {} and float((tensors["fusion.factors"] - 1).abs().min()) > 0
    assert float(tensors["fusion.factors"].prod()) == pytest.approx(1, abs=1e-5), "two modalities"
    model = Setup.open(own, "tiny", "arm", 0).model()
    model.load_state_dict(tensors)
    assert torch.equal(model.fusion.factors, tensors["fusion.factors"])  # type: ignore[arg-type]


class Plain(Method[Any]):
    """Joint training with ARM's head."""

    adapt = ARM.adapt  # type: ignore[assignment]


@pytest.mark.parametrize("third", [True])
def test_limit_one_is_joint_training_of_the_head_bit_for_bit(tiny: Path, third: bool) -> None:
    tiny_dataset.write(tiny, third=third)
    own = params(third, training={"epochs": 2}, limit=1)
    for folder, kind in (("arm", None), ("plain", Plain)):
        loop_of(folder, own, "arm", kind).run()
    loop_of("factors", params(third, training={"epochs": 2}), "arm").run()
    arm, plain, factors = (
        {path.name: path.read_bytes() for path in Path(folder).glob("val-*.safetensors")}
        for folder in ("arm", "plain", "factors")
    )
    assert plain and arm == plain != factors


def test_a_regression_is_weighed_by_its_grid(tiny: Path) -> None:
    own = tiny_dataset.write_regression(tiny, methods={"arm": {"width": 5}})
    loop = loop_of("run", own, "arm")
    metrics = loop.run(until=1).history[0]["metrics"]
    assert metrics["audio/factor"] != 1 and metrics["audio/pcmi"] > 0
    assert set(loop.method.model.fusion.maps) == {"audio", "visual"}  # type: ignore[arg-type]


@pytest.mark.parametrize("third", [pytest.param(False, marks=pytest.mark.slow), SEQUENCES])
def test_a_broken_run_goes_on_bit_for_bit(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    own = params(third)
    goes_on_bit_for_bit(lambda folder: loop_of(folder, own, "arm"))


def test_half_precision_measures_in_float(tiny: Path) -> None:
    method, batch = made()
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(2):
            step = method(batch)
            step.loss.backward()
    assert step.logits.dtype == torch.bfloat16 and step.logs["audio/pcmi"].dtype == torch.float64
    assert method.head.factors.dtype == torch.float32 and bool(step.loss.isfinite())


# Each of two processes takes two steps and leaves what it measured and how it scales.
STEPS = """
from equimodal.methods.arm import method as arm
own, plain = [], arm.average
arm.average = lambda value: own.append(value) or plain(value)
method.begin_epoch(0, loop)
for batch, _ in zip(loop.batches(0), range(2)):
    method.training_step(batch, loop)
found = {"own": torch.stack(own), "pcmi": method.pcmi, "factors": method.head.factors}
found |= {f"state/{name}": value.contiguous() for name, value in method.model.encoders.named_parameters()}
"""


@pytest.mark.slow
def test_two_processes_scale_alike(tiny: Path) -> None:
    tiny_dataset.write_params(tiny, runtime={"devices": 2}, methods={"arm": {"momentum": 0.75}})
    first, second = (tensors for tensors, _ in training_process.steps(STEPS, "arm"))
    means = (first["own"] + second["own"]) / 2
    assert not torch.equal(first["own"], second["own"])
    torch.testing.assert_close(first["pcmi"], 0.75 * means[0] + 0.25 * means[1])
    for name in set(first) - {"own"}:
        assert torch.equal(first[name], second[name]), name


def test_what_it_refuses(tiny: Path) -> None:
    for bad, said in (
        ({"bins": 1}, "bins"),
        ({"conditional_bins": 1}, "conditional_bins"),
        ({"momentum": 1}, "momentum"),
        ({"limit": 0.5}, "limit"),
        ({"width": 0}, "width"),
    ):
        with pytest.raises(UserError, match=rf"methods\.arm\.{said}"):
            params(**bad)
