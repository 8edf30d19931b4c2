"""Late fusion by its formulas: losses apart, weights by a search on validation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import tiny_dataset
from equimodal.engines.layout import model_folder
from equimodal.errors import UserError
from equimodal.methods.base import Batch, Method
from equimodal.methods.late.method import tuned_weights
from equimodal.models.framework import pooled_features
from equimodal.params import Params
from equimodal.stages import evaluate, train
from equimodal.stages.setup import Setup
from equimodal.store import read_json, read_tensors
from equimodal.training.loop import Loop
from equimodal.training.measure import predict
from tiny_method import goes_on_bit_for_bit, loop_of, opened

CASES = [False, True, ("text", "face", "facts")]


def params(third: bool | tuple[str, ...] = False, **settings: Any) -> Params:
    return tiny_dataset.params(third, methods={"late": settings})


def loop(folder: str, third: bool | tuple[str, ...] = False, **settings: Any) -> Loop:
    return loop_of(folder, params(third, **settings), "late")


def made(third: bool | tuple[str, ...] = False, **settings: Any) -> tuple[Method[Any], Batch]:
    method, batch = opened(params(third, **settings), "late")
    return method.train(), batch


@pytest.mark.parametrize("third", CASES)
def test_every_modality_has_the_gradient_of_its_own_loss(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    names = tiny_dataset.names(third)
    factors = dict(zip(names, [2.0, 0.5, 3.0], strict=False))
    method, batch = made(third, loss_weights=list(factors.values()))
    torch.manual_seed(3)  # dropout
    step = method(batch)
    step.loss.backward()
    found = {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}
    assert found.keys() == dict(method.named_parameters()).keys()
    method.zero_grad()
    torch.manual_seed(3)
    total, u = 0.0, {}
    features = pooled_features(method.model.encode(batch.inputs))
    for name, z in features.items():
        linear = method.model.fusion.linears[name]  # type: ignore[union-attr,index]
        u[name] = z @ linear.weight.T + linear.bias
        loss = functional.cross_entropy(u[name], batch.labels)
        assert float(step.logs[f"{name}/loss"]) == pytest.approx(float(loss.detach()), rel=1e-5)
        loss.backward(retain_graph=True)
        total += factors[name] * float(loss.detach())
    for name, parameter in method.named_parameters():
        (modality,) = set(name.split(".")) & set(names)
        expected = factors[modality] * parameter.grad
        torch.testing.assert_close(found[name], expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()) + 1e-8)
    assert float(step.loss.detach()) == pytest.approx(total, rel=1e-5)
    torch.testing.assert_close(step.logits, torch.stack(list(u.values())).mean(0).detach(), rtol=1e-4, atol=1e-5)


def losses(each: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cross entropy of sum_m v^m u^m for many v [T, M]: [T]."""
    logits = np.einsum("tm,mnk->tnk", weights, each)
    logits = logits - logits.max(2, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(2, keepdims=True))
    return -log_p[:, np.arange(len(labels)), labels].mean(1)


def problem(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits [M, 40, 4] of which the first modality's are the best, and labels."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 4, 40)
    strengths = np.array([2.0, 1.0, 0.7, 0.2])[:count, None, None]
    return strengths * np.eye(4)[labels] + draw.normal(size=(count, 40, 4)), labels


def searched(each: np.ndarray, labels: np.ndarray, grid: int) -> np.ndarray:
    def loss(logits: Tensor) -> Tensor:
        return functional.cross_entropy(logits, torch.from_numpy(labels))

    return tuned_weights(torch.from_numpy(each), loss, grid).numpy()


@pytest.mark.parametrize("grid", [4, 10, 20])
def test_two_weights_are_the_best_of_the_grid(grid: int) -> None:
    shares = np.linspace(0, 1, grid + 1)
    candidates = np.stack([shares, 1 - shares], 1)
    for seed in range(8):
        each, labels = problem(seed, 2)
        found = searched(each, labels, grid)
        np.testing.assert_allclose(found, candidates[losses(each, labels, candidates).argmin()], atol=1e-12)


@pytest.mark.parametrize("count", [3, 4])
def test_of_more_no_single_change_is_better(count: int) -> None:
    grid = 20
    for seed in range(6):
        each, labels = problem(seed, count)
        found = searched(each, labels, grid)
        assert found.min() >= 0 and found.sum() == pytest.approx(1)
        best = losses(each, labels, found[None])[0]
        assert best < losses(each, labels, np.full((1, count), 1 / count))[0]
        for m in range(count):
            if found[m] == 1:
                continue
            rest = np.where(np.arange(count) == m, 0, found)
            rest = rest / rest.sum()
            candidates = np.array([s * np.eye(count)[m] + (1 - s) * rest for s in np.linspace(0, 1, grid + 1)])
            assert losses(each, labels, candidates).min() >= best - 1e-8


def test_a_modality_that_only_harms_has_no_weight_and_equal_ones_stay_equal() -> None:
    each, labels = problem(0, 3)
    each[1:] = -10 * np.eye(4)[labels]
    np.testing.assert_allclose(searched(each, labels, 20), [1, 0, 0])
    each[1:] = each[0]
    np.testing.assert_array_equal(searched(each, labels, 20), np.full(3, 1 / 3))
    each[0] = -10 * np.eye(4)[labels]  # the last one takes all, after weights that have come to 1 and 0
    each[1] = each[0]
    np.testing.assert_allclose(searched(each, labels, 20), [0, 0, 1])


@pytest.mark.parametrize("third", CASES)
def test_every_epoch_s_model_has_weights_tuned_on_validation(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    own, names = params(third), tiny_dataset.names(third)
    train.run(own, "tiny", "late", 0)
    folder = model_folder("tiny", "late", 0)
    curves = read_json(folder / "curves.json")["epochs"]
    evaluate.run(own, "tiny", "late", 0)
    evaluated = read_json(folder / "evaluation.json")["selection"]
    setup = Setup.open(own, "tiny", "late", 0)
    for rule in ("val", "last", "test"):
        tensors, meta = read_tensors(folder / f"{rule}.safetensors")
        model = setup.model(meta["structure"])
        model.load_state_dict(tensors)
        val, test = (predict(model, setup.data, split, 32) for split in ("val", "test"))  # type: ignore[arg-type]
        each = np.stack([val.readouts[name].double().numpy() for name in names])
        expected = searched(each, val.labels.numpy(), 20)
        np.testing.assert_allclose(tensors["fusion.weights"].numpy(), expected, atol=1e-6)
        logged = curves[meta["epoch"]]["metrics"]
        assert [logged[f"{name}/weight"] for name in names] == pytest.approx(expected.tolist())
        mixed = np.tensordot(expected, np.stack([test.readouts[name].double().numpy() for name in names]), 1)
        np.testing.assert_allclose(test.logits.numpy(), mixed, rtol=1e-4, atol=1e-5)
        right = (test.logits.argmax(1) == test.labels).double().mean()
        assert evaluated[rule]["test"]["accuracy"] == pytest.approx(float(right)) == logged["test/accuracy"]


def test_untuned_weights_are_equal_and_train_alike(tiny: Path) -> None:
    for folder, tuned in (("tuned", True), ("equal", False)):
        loop(folder, tuned=tuned).run()
    tuned, equal = (read_tensors(Path(folder, "state.safetensors"))[0] for folder in ("tuned", "equal"))
    weights = "module/model.fusion.weights"
    assert torch.equal(equal[weights], torch.full((2,), 0.5)) and not torch.equal(tuned[weights], equal[weights])
    assert all(torch.equal(tuned[key], equal[key]) for key in tuned.keys() - {weights})


def test_a_regression_is_a_weighted_mean(tiny: Path) -> None:
    own = tiny_dataset.write_regression(tiny, methods={"late": {}})
    train.run(own, "tiny", "late", 0)
    setup = Setup.open(own, "tiny", "late", 0)
    tensors, meta = read_tensors(model_folder("tiny", "late", 0) / "last.safetensors")
    model = setup.model(meta["structure"])
    model.load_state_dict(tensors)
    found = predict(model, setup.data, "val", 32)
    each = np.stack([found.readouts[name].double().numpy()[:, 0] for name in ("audio", "visual")])
    shares = np.linspace(0, 1, 21)
    errors = [np.abs(s * each[0] + (1 - s) * each[1] - found.labels.numpy()).mean() for s in shares]
    best = shares[int(np.argmin(errors))]
    np.testing.assert_allclose(tensors["fusion.weights"].numpy(), [best, 1 - best], atol=1e-6)
    np.testing.assert_allclose(found.logits[:, 0].numpy(), best * each[0] + (1 - best) * each[1], rtol=1e-4, atol=1e-5)


def test_a_broken_run_goes_on_bit_for_bit(tiny: Path) -> None:
    goes_on_bit_for_bit(loop)


def test_what_it_refuses(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"methods.late.loss_weights has 3 weights for 2 modalities \(audio, visual\)"):
        params(loss_weights=[1, 1, 1]).check_pair("tiny", "late")
    with pytest.raises(UserError, match=r"methods.late.grid"):
        params(grid=0)
