"""aim-means by itself: how running class means move, on classes and on a grid of values, in one process and in two."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import tiny_dataset
import training_process
from equimodal.engines.layout import model_folder
from equimodal.methods.aim_means.method import AIMMeans
from equimodal.methods.base import Batch
from equimodal.params import Params
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.store import read_json

TRAINER: Any = SimpleNamespace(total=lambda value: value)


def made(params: Params) -> tuple[AIMMeans, Batch]:
    setup = Setup.open(params, "tiny", "aim-means", 0)
    inputs, labels = next(setup.data.evaluation_batches("train", 16))
    method = setup.method().train()
    assert isinstance(method, AIMMeans)
    return method, Batch(inputs, labels)


def moved(p: Any, v: Any, seen: Any, h: Any, a: Any) -> tuple[Any, Any]:
    """Means and variance after a batch h [B, W] with memberships a [B, K], sample by sample."""
    means = p.copy()
    for k in range(len(p)):
        n = a[:, k].sum()
        if n > 0:
            left = 0.9**n if seen[k] else 0.0
            means[k] = left * p[k] + (1 - left) * (a[:, k, None] * h).sum(0) / n
    apart = sum(a[i, k] * (h[i] - p[k]) ** 2 for i in range(len(h)) for k in range(len(p))) / len(h)
    return means, 0.95 * v + 0.05 * np.maximum(apart, 1e-3)


@pytest.mark.parametrize("grid", [False, True], ids=["classes", "grid"])
def test_means_and_variance_move_as_section_13_says(tiny: Path, grid: bool) -> None:
    params = tiny_dataset.write_regression(tiny) if grid else tiny_dataset.params()
    method, _ = made(params)
    method.double()
    draw = np.random.default_rng(0)
    count, width = method.task.classes, method.width
    p, v, seen = np.zeros((count, width)), np.ones(width), np.zeros(count, bool)
    for step in range(4):  # the last class (the grid's last values) comes in the third batch only
        upper = count - 1 - (step != 2)
        labels = draw.uniform(-3, upper - 3, size=9) if grid else draw.integers(upper + 1, size=9)
        a = np.maximum(0, 1 - np.abs(labels[:, None] - np.arange(-3.0, 4.0))) if grid else np.eye(count)[labels]
        h = draw.normal(size=(9, width)) * (1e-4 if step == 3 else 1.0)
        method.update(torch.from_numpy(h), torch.from_numpy(labels), TRAINER)
        p, v = moved(p, v, seen, h, a)
        seen |= a.sum(0) > 0
        np.testing.assert_allclose(method.means, p, atol=1e-10)
        np.testing.assert_allclose(method.variance, v, atol=1e-10)
        assert (method.seen.numpy() == seen).all() and (p[~seen] == 0).all()


def test_a_class_s_first_visit_sets_its_mean(tiny: Path) -> None:
    method, _ = made(tiny_dataset.params())
    h = torch.randn(5, method.width)
    method.update(h, torch.tensor([0, 0, 2, 0, 2]), TRAINER)
    torch.testing.assert_close(method.means, torch.stack([h[[0, 1, 3]].mean(0), 0 * h[0], h[[2, 4]].mean(0)]))
    kept = method.means.clone()
    method.update(h, torch.tensor([1, 1, 1, 1, 1]), TRAINER)
    torch.testing.assert_close(method.means, torch.stack([kept[0], h.mean(0), kept[2]]), rtol=0, atol=1e-6)
    assert method.means[[0, 2]].equal(kept[[0, 2]]), "a class that does not come stays as it is"


def test_means_and_variance_are_constants_and_move_after_the_step(tiny: Path) -> None:
    method, batch = made(tiny_dataset.params())
    method.update(torch.randn(16, method.width), batch.labels, TRAINER)
    before = method.means.clone(), method.variance.clone()
    loss, _ = method.deep_loss(method.features(method.model(batch.inputs)), batch.labels)
    loss.backward()
    assert not method.means.requires_grad and not method.variance.requires_grad
    assert [name for name, p in method.named_parameters() if p.grad is not None and p.grad.any()] == [
        f"model.encoders.{name}" for name, _ in method.model.encoders.named_parameters()
    ]
    assert method.means.equal(before[0]) and method.variance.equal(before[1]), "the loss moves nothing"
    steps = SimpleNamespace(module=method, optimize=lambda loss: None, total=lambda value: value)
    method.training_step(batch, steps)  # type: ignore[arg-type]
    assert not method.means.equal(before[0]) and not method.variance.equal(before[1])


def test_numbers_for_labels(tiny: Path) -> None:
    params = tiny_dataset.write_regression(tiny, training={"epochs": 2})
    train.run(params, "tiny", "aim-means", 0)
    curves = read_json(model_folder("tiny", "aim-means", 0) / "curves.json")["epochs"]
    assert curves[1]["metrics"]["depth4/audio/L"] < curves[0]["metrics"]["depth4/audio/L"]
    assert curves[1]["metrics"]["train/mae"] < curves[0]["metrics"]["train/mae"]


# Each of two processes takes two steps and leaves the features and labels it saw, and what it keeps.
STEPS = """
update = method.update
def kept(features, labels, trainer):
    found.update({f"h{len(found) // 2}": features.clone(), f"y{len(found) // 2}": labels})
    update(features, labels, trainer)
method.update = kept
for batch, _ in zip(loop.batches(0), range(2)):
    method.training_step(batch, loop)
found.update(means=method.means, variance=method.variance, seen=method.seen)
"""


@pytest.mark.slow
def test_two_processes_keep_the_means_of_all_samples(tiny: Path) -> None:
    params = tiny_dataset.write_params(tiny, runtime={"devices": 2})
    first, second = (tensors for tensors, _ in training_process.steps(STEPS, "aim-means"))
    alone, _ = made(params)
    for step in range(2):
        assert not torch.equal(first[f"h{step}"], second[f"h{step}"])
        alone.update(
            torch.cat([found[f"h{step}"] for found in (first, second)]),
            torch.cat([found[f"y{step}"] for found in (first, second)]),
            TRAINER,
        )
    for name in ("means", "variance", "seen"):
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], alone.get_buffer(name), rtol=1e-5, atol=1e-6)
