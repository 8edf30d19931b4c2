"""MWAM by its formulas: frequencies by SciPy's cosine transform, running means, weights of the gradients."""

import copy
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch.nn import functional

import tiny_dataset
import training_process
from equimodal.errors import UserError
from equimodal.methods.base import Batch
from equimodal.methods.mwam.frequencies import cosines, frequency_ratios
from equimodal.methods.mwam.method import MWAM, branch_weights
from equimodal.stages import train
from tiny_method import goes_on_bit_for_bit, learned, loop_of, opened, warned_of

TRAINER: Any = SimpleNamespace(
    device="cpu", processes=1, training=SimpleNamespace(optimizer=SimpleNamespace(name="sgd"))
)


def params(
    third: bool | tuple[str, ...] = False,
    training: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    methods = {"mwam": settings, "aim": {"start_epoch": 0}}
    return tiny_dataset.params(third, training=training or {}, model=model or {}, methods=methods)


def made(
    third: bool | tuple[str, ...] = False, model: dict[str, Any] | None = None, **settings: Any
) -> tuple[MWAM, Batch]:
    method, batch = opened(params(third, model=model, **settings), "mwam")
    assert isinstance(method, MWAM)
    return method, batch


def ratios(pictures: Any, patch: int, corner: int) -> Any:
    """FRM of every patch, by loops and SciPy's transform: pictures [n, H, W] -> [n, H // P, W // P]."""
    count, height, width = pictures.shape
    found = np.zeros((count, height // patch, width // patch))
    for i, row, column in np.ndindex(found.shape):
        part = pictures[i, row * patch :, column * patch :][:patch, :patch]
        f = dctn(part.astype(np.float64), norm="ortho")
        for a in range(corner):
            for b in range(corner):
                found[i, row, column] += abs(f[a, b] / (f[patch - 1 - a, patch - 1 - b] + 1e-6))
    return found


@pytest.mark.parametrize(("patch", "corner"), [(8, 2), (5, 2), (4, 1)])
def test_ratios_by_scipy(patch: int, corner: int) -> None:
    pictures = np.random.default_rng(patch).normal(size=(3, 17, 21)).astype(np.float32)
    found = frequency_ratios(torch.from_numpy(pictures), cosines(patch, corner))
    np.testing.assert_allclose(found.numpy(), ratios(pictures, patch, corner), rtol=1e-6)


def test_of_a_blank_patch_only_the_mean_is_left() -> None:
    blank = torch.full((8, 8), 3.0)
    assert float(frequency_ratios(blank, cosines(8, 2))) == pytest.approx(24 / 1e-6, rel=1e-6)
    assert float(frequency_ratios(torch.zeros(8, 8), cosines(8, 2))) == 0


def test_weights_by_hand() -> None:
    found = branch_weights(torch.tensor([2.0, 1.0, 0.0]), torch.tensor(1.0), 10)
    np.testing.assert_allclose(found.numpy(), [1.5 - 1 / (1 + np.exp(-10)), 1.0, 1.5 - 1 / (1 + np.exp(10))], rtol=1e-6)
    assert branch_weights(torch.tensor([2.0, 0.5]), torch.tensor(1.0), 0).tolist() == [1, 1]
    assert bool(branch_weights(torch.zeros(2), torch.tensor(0.0), 10).isfinite().all())


@pytest.mark.parametrize(
    ("third", "variant", "fusion"),
    [
        (False, "paper", "concat"),
        (True, "paper", "sum"),
        (False, "released", "film"),
        (True, "released", "concat"),
        (("audio", "text", "visual", "facts"), "paper", "concat"),
    ],
)
def test_steps_by_numpy_and_autograd(tiny: Path, third: bool | tuple[str, ...], variant: str, fusion: str) -> None:
    tiny_dataset.write(tiny, third=third)
    method, batch = made(third, {"fusion": fusion}, variant=variant, momentum=0.6, slope=3.0)
    method.eval()  # no dropout: both passes are the same
    plain = copy.deepcopy(method.model)
    pictured = [name for name in method.model.modalities if name in ("audio", "visual", "motion")]
    released = variant == "released"
    bank = dict.fromkeys(pictured, 0.0)
    for count, factor in enumerate((1.0, -3.0, 0.2)):
        inputs: dict[str, Any] = {name: x + factor if name == "audio" else x for name, x in batch.inputs.items()}
        found = {}
        for name in pictured:
            each = ratios(inputs[name].flatten(0, -3).numpy(), 8, 2)
            found[name] = each.sum() if released else each.mean()
            kept = 0.6 if released or count else 0.0
            bank[name] = kept * bank[name] + (1 - kept) * found[name]
        mean = sum(bank.values()) / len(bank)
        weights = {name: 1.5 - 1 / (1 + np.exp(-3.0 * (found[name] / mean - 1))) for name in pictured}
        method.zero_grad()
        plain.zero_grad()
        step = method(Batch(inputs, batch.labels))
        step.loss.backward()
        method.after_backward(TRAINER)
        loss = functional.cross_entropy(plain(inputs).logits, batch.labels)
        loss.backward()
        assert float(step.loss.detach()) == pytest.approx(float(loss.detach()))
        for (name, parameter), other in zip(method.model.named_parameters(), plain.parameters(), strict=True):
            scaled = name.startswith("encoders") and (not released or (name.count(".") == 3 and ".conv1." in name))
            weight = weights.get(name.split(".")[1], 1.0) if scaled else 1.0
            torch.testing.assert_close(parameter.grad, other.grad * weight, msg=name, rtol=1e-4, atol=1e-7)
        assert [float(step.logs[f"{name}/ratio"]) for name in pictured] == pytest.approx(
            [found[name] for name in pictured], rel=1e-4
        )
        assert {name: float(weight) for name, weight in method._weights.items()} == pytest.approx(weights, rel=1e-3)
        assert not any(key.startswith(("text", "facts")) for key in step.logs)
    assert max(weights.values()) - min(weights.values()) > 0.01, weights


def test_slope_zero_is_joint_bit_for_bit(tiny: Path) -> None:
    own = params(training={"epochs": 2}, slope=0)
    for name in ("joint", "mwam"):
        train.run(own, "tiny", name, 0)
    for file in ("val", "last", "test"):
        joint, mwam = (learned(Path(f"models/tiny/{name}/0/{file}.safetensors")) for name in ("joint", "mwam"))
        assert joint == mwam


@pytest.mark.parametrize("third", [("audio", "text", "facts"), ("text", "face")])
def test_without_two_pictures_to_compare_it_says_so_and_is_joint_training(
    tiny: Path, caplog: pytest.LogCaptureFixture, third: tuple[str, ...]
) -> None:
    tiny_dataset.write(tiny, third=third)
    own = params(third, training={"epochs": 1})
    with caplog.at_level(logging.WARNING):
        for name in ("joint", "mwam"):
            train.run(own, "tiny", name, 0)
    assert ["fewer than two modalities" in record.getMessage() for record in caplog.records] == [True]
    joint, mwam = (learned(Path(f"models/tiny/{name}/0/last.safetensors")) for name in ("joint", "mwam"))
    assert joint == mwam


def test_pictures_smaller_than_a_patch_have_no_frequencies(tiny: Path) -> None:
    method, batch = made(patch=20)
    assert method(batch).logs == {} and method._warned


def test_predictions_are_the_plain_framework_s(tiny: Path) -> None:
    method, batch = made()
    method(batch)
    bank = method.bank.clone()
    method.eval()
    first = method.model.predict(batch.inputs).logits
    assert torch.equal(method.model.predict(batch.inputs).logits, first) and torch.equal(method.bank, bank)


def test_a_regression_is_weighed_too(tiny: Path) -> None:
    metrics = loop_of("run", tiny_dataset.write_regression(tiny, methods={"mwam": {}}), "mwam").run(until=1)
    assert metrics.history[0]["metrics"]["audio/weight"] != 1


def test_a_broken_run_goes_on_bit_for_bit(tiny: Path) -> None:
    tiny_dataset.write(tiny, third=True)
    own = params(True, slope=0.5, momentum=0.9)
    goes_on_bit_for_bit(lambda folder: loop_of(folder, own, "mwam"))


def test_half_precision_measures_in_float64(tiny: Path) -> None:
    method, batch = made()
    plain = method(batch).logs
    with torch.autocast("cpu", torch.bfloat16):
        logs = method(batch).logs
    assert torch.equal(logs["audio/ratio"], plain["audio/ratio"]) and logs["audio/ratio"].dtype == torch.float64


@pytest.mark.parametrize(("optimizer", "warned"), [("sgd", 0), ("adamw", 1)])
def test_optimizers_that_undo_the_factor_are_named(
    tiny: Path, caplog: pytest.LogCaptureFixture, optimizer: str, warned: int
) -> None:
    method, _ = made()
    said = warned_of(optimizer, method, caplog)
    assert [f"{optimizer} divides a constant factor" in line for line in said] == [True] * warned


# Each of two processes takes two steps and leaves what it measured and how it weighed.
STEPS = """
from equimodal.methods.mwam import method as mwam
own, plain = [], mwam.average
mwam.average = lambda value: own.append(value.clone()) or plain(value)
method.begin_epoch(0, loop)
for batch, _ in zip(loop.batches(0), range(2)):
    method.training_step(batch, loop)
found = {"own": torch.stack(own), "bank": method.bank, "weights": torch.stack(list(method._weights.values()))}
found |= {f"state/{name}": value.contiguous() for name, value in method.model.encoders.named_parameters()}
"""


@pytest.mark.slow
def test_two_processes_weigh_alike(tiny: Path) -> None:
    tiny_dataset.write_params(tiny, runtime={"devices": 2}, methods={"mwam": {"momentum": 0.75, "slope": 0.5}})
    first, second = (tensors for tensors, _ in training_process.steps(STEPS, "mwam"))
    means = (first["own"] + second["own"]) / 2
    assert not torch.equal(first["own"], second["own"])
    torch.testing.assert_close(first["bank"], 0.75 * means[0] + 0.25 * means[1])
    torch.testing.assert_close(first["weights"], branch_weights(means[1], first["bank"].mean(), 0.5))
    for name in set(first) - {"own"}:
        assert torch.equal(first[name], second[name]), name


def test_what_it_refuses(tiny: Path) -> None:
    for bad, said in (
        ({"slope": -1}, "slope"),
        ({"momentum": 1}, "momentum"),
        ({"patch": 1}, "patch"),
        ({"corner": 0}, "corner"),
    ):
        with pytest.raises(UserError, match=rf"methods\.mwam\.{said}"):
            params(**bad)
    with pytest.raises(UserError, match=r"corner \(5\) must be at most half of patch \(8\)"):
        params(corner=5)
