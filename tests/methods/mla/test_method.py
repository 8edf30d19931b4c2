"""MLA by its formulas: alternating steps, the projector of the head's gradient, weights by entropy."""

import copy
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import tiny_dataset
from equimodal.engines.layout import model_folder
from equimodal.errors import UserError
from equimodal.methods.base import Batch
from equimodal.methods.mla.method import MLA, SharedHead, entropy_weights, projected
from equimodal.methods.mla.settings import MLASettings
from equimodal.stages import evaluate, train
from equimodal.stages.setup import Setup
from equimodal.store import read_json, read_tensors
from equimodal.training.loop import Loop
from equimodal.training.measure import predict
from tiny_method import goes_on_bit_for_bit, loop_of, opened

TRAINER: Any = SimpleNamespace(device="cpu", processes=1, total=lambda value: value)
SEQUENCES = ("audio", "text", "facts")  # features of unequal width


def params(third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any) -> Any:
    return tiny_dataset.params(third, training=training or {}, methods={"mla": settings, "aim": {"start_epoch": 0}})


def made(third: bool | tuple[str, ...] = False, **settings: Any) -> tuple[MLA, Batch]:
    method, batch = opened(params(third, **settings), "mla")
    assert isinstance(method, MLA)
    method.begin_epoch(0, TRAINER)
    return method, batch


def loop(
    folder: str, third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any
) -> Loop:
    return loop_of(folder, params(third, training, **settings), "mla")


def spread(width: int, count: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(width)
    return [torch.rand(width, generator=draw, dtype=torch.float64) for _ in range(count)]


def test_the_projector_is_recursive_least_squares() -> None:
    """From P = I, P_n = (I + sum r r^T / a)^-1, whose recursion is the paper's (Sherman and Morrison)."""
    projector, inverse = torch.eye(6, dtype=torch.float64), np.eye(6)
    for step, r in enumerate(spread(6, 9)):
        decay = 0.1 ** (step / 9 + 1)
        projector = projected(projector, r, decay)
        inverse = inverse + np.outer(r, r) / decay
        np.testing.assert_allclose(projector.numpy(), np.linalg.inv(inverse), rtol=1e-9, atol=1e-12)
        assert torch.equal(projector, projector.T), "symmetric"


def test_what_the_head_has_seen_is_damped_and_the_rest_is_not() -> None:
    (r,) = spread(6, 1)
    beside = torch.linalg.qr(torch.cat([r[:, None], torch.eye(6, dtype=torch.float64)], 1)).Q[:, 1:6]
    projector = projected(torch.eye(6, dtype=torch.float64), r, 0.1)
    torch.testing.assert_close(projector @ r, r * 0.1 / (0.1 + r @ r))
    torch.testing.assert_close(projector @ beside, beside)


@pytest.mark.parametrize("elementwise", [False, True])
def test_the_released_forms_by_numpy(elementwise: bool) -> None:
    projector, expected = torch.eye(5, dtype=torch.float64), np.eye(5)
    for r in spread(5, 4):
        projector = projected(projector, r, 0.05, elementwise, frobenius=True)
        k = expected @ r.numpy()[:, None]
        denominator = k @ r.numpy()[None] if elementwise else r.numpy() @ k
        expected = expected - k @ k.T / (0.05 + denominator)
        expected /= np.sqrt((expected**2).sum())
        np.testing.assert_allclose(projector.numpy(), expected, rtol=1e-9, atol=1e-12)
        assert float((projector**2).sum()) == pytest.approx(1)


def softmax(u: Any, axis: int) -> Any:
    e = np.exp(u - u.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize("count", [2, 3])
def test_weights_by_entropy(count: int) -> None:
    u = np.random.default_rng(count).normal(size=(count, 5, 4)) * np.arange(1, count + 1)[:, None, None]
    p = softmax(u, 2)
    h = -(p * np.log(p)).sum(2)
    expected = np.exp(h.max(0) - h) / np.exp(h.max(0) - h).sum(0)
    found = entropy_weights(torch.from_numpy(u))
    np.testing.assert_allclose(found[..., 0].numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(found.sum(0), 1, rtol=1e-6)
    equal = torch.from_numpy(u[:1]).expand(count, 5, 4)
    torch.testing.assert_close(entropy_weights(equal), torch.full((count, 5, 1), 1 / count))
    one = entropy_weights(torch.from_numpy(u[:, 2:3]))
    torch.testing.assert_close(one, found[:, 2:3], msg="a sample's weights do not hang on its batch")
    sure = torch.zeros(2, 1, 4)
    sure[1, 0, 0] = 50
    assert entropy_weights(sure)[1] > entropy_weights(sure)[0]

    q = softmax(u, 1)  # released: over the batch, one weight for all of it
    whole = -(q * np.log(q)).sum((1, 2))
    expected = np.exp(whole.max() - whole) / np.exp(whole.max() - whole).sum()
    np.testing.assert_allclose(entropy_weights(torch.from_numpy(u), batch=True)[:, 0, 0].numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "entropy"),
        ({"variant": "released"}, "batch"),
        ({"variant": "released", "prediction": "entropy"}, "entropy"),
        ({"prediction": "fixed"}, "equal"),
        ({"prediction": "fixed", "merge": [0.55, 0.45]}, "given"),
    ],
)
def test_predictions_weigh_the_head_s_logits(tiny: Path, settings: dict[str, Any], kind: str) -> None:
    method, batch = made(**settings)
    model = method.model.eval()
    with torch.no_grad():
        outputs = model.predict(batch.inputs)
        u = torch.stack(
            [z @ model.fusion.linear.weight.T + model.fusion.linear.bias for z in outputs.features.values()]
        )
        given = {"equal": [0.5, 0.5], "given": [0.55, 0.45]}
        weights = (
            torch.tensor(given[kind])[:, None, None] if kind in given else entropy_weights(u, batch=kind == "batch")
        )
        torch.testing.assert_close(outputs.logits, (weights * u).sum(0))
        alone = model.readout(outputs.features)
        torch.testing.assert_close(torch.stack(list(alone.values())), u)
        assert kind in given or not torch.allclose(outputs.logits, u.mean(0))
        half = model.predict({name: x[:8] for name, x in batch.inputs.items()}).logits
        assert torch.allclose(half, outputs.logits[:8], atol=1e-6) == (kind != "batch")


def reference_steps(trained: Loop, batches: list[Batch], project_on: str, frobenius: bool = False) -> dict[str, Tensor]:
    """Plain autograd and SGD over batches: all features first, then one loss, projection and step a modality."""
    method, steps = trained.method, trained.method.task.steps
    plain = copy.deepcopy(method.model).train()
    names, head = plain.modalities, plain.fusion.linear
    projector, last = np.eye(head.in_features), None
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for index, batch in enumerate(batches):
        features = {name: plain.encoders[name](batch.inputs[name]) for name in names}
        for name in names:
            z = features[name]
            entering = plain.fusion.maps[name](z) if name in plain.fusion.maps else z
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(head(entering), batch.labels).backward()
            r = entering.detach().mean(0).double().numpy()
            if last is not None and project_on != "none":
                seen = r if project_on == "current" else last
                k = projector @ seen
                projector = projector - np.outer(k, k) / (0.1 ** (index / steps + 1) + seen @ k)
                projector = projector / np.sqrt((projector**2).sum()) if frobenius else projector
                head.weight.grad = torch.from_numpy(head.weight.grad.double().numpy() @ projector.T).float()
            last = r
            optimizer.step()
    return plain.state_dict()


@pytest.mark.parametrize("third", [False, True, SEQUENCES])
@pytest.mark.parametrize("settings", [{"projection": "none"}, {}, {"project_on": "previous", "frobenius": True}])
def test_steps_are_one_modality_at_a_time(tiny: Path, third: bool | tuple[str, ...], settings: dict[str, Any]) -> None:
    tiny_dataset.write(tiny, third=third)
    plain = {"epochs": 1, "schedule": {"name": "constant"}, "augment": {"crop": False, "flip": False}}
    trained = loop("run", third, plain, **settings)
    batches = list(trained.batches(0))[:3]
    method = trained.method.train()
    method.begin_epoch(0, trained)
    on = "none" if settings.get("projection") == "none" else settings.get("project_on", "current")
    torch.manual_seed(0)  # dropout of the transformer
    expected = reference_steps(trained, batches, on, settings.get("frobenius", False))
    torch.manual_seed(0)
    steps = [method.training_step(batch, trained) for batch in batches]
    for name, value in method.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name, rtol=1e-3, atol=1e-5)
    names = method.model.modalities
    for step in steps:
        assert float(step.loss) == pytest.approx(float(sum(step.logs[f"{name}/loss"] for name in names)) / len(names))
        assert step.logits.shape == (len(batches[0].labels), 3) and not step.logits.requires_grad
    kept = method.end_epoch(0, trained)
    assert kept == {} if on == "none" else 0 < kept["head/kept"] < 1


@pytest.mark.parametrize("project_on", ["current", "previous"])
def test_the_head_s_gradient_is_projected_and_nothing_else(tiny: Path, project_on: str) -> None:
    method, batch = made(project_on=project_on)
    step = method(batch, "audio")
    step.loss.backward()
    before = {name: p.grad.clone() for name, p in method.model.named_parameters() if p.grad is not None}
    assert not any(name.startswith("encoders.visual") for name in before), "the other encoder takes no part"
    method.after_backward(TRAINER)
    after = {name: p.grad for name, p in method.model.named_parameters() if p.grad is not None}
    assert all(torch.equal(after[name], value) for name, value in before.items()), (
        "the very first step has no projector"
    )
    assert torch.equal(method.projector, torch.eye(method.head.width))
    audio = method.previous.clone()
    method.model.zero_grad()
    step = method(batch, "visual")
    step.loss.backward()
    before = {name: p.grad.clone() for name, p in method.model.named_parameters() if p.grad is not None}
    method.after_backward(TRAINER)
    after = {name: p.grad for name, p in method.model.named_parameters() if p.grad is not None}
    for name, value in before.items():
        assert torch.equal(after[name], value) == (name != "fusion.linear.weight"), name
    seen = method.previous if project_on == "current" else audio
    # What the head answers to the mean feature that was taken up hardly moves with this step.
    share = (after["fusion.linear.weight"] @ seen).norm() / (before["fusion.linear.weight"] @ seen).norm()
    assert float(share) == pytest.approx(float(0.1 / (0.1 + seen @ seen)), rel=1e-3)


def test_the_decay_falls_over_the_epoch(tiny: Path) -> None:
    method, batch = made()
    trained = loop("run")
    method = trained.method
    method.begin_epoch(0, trained)
    method.training_step(batch, trained)
    method.training_step(batch, trained)
    assert method._batch == 2
    before = method.projector.double()
    method(batch, "audio").loss.backward()
    method.after_backward(trained)
    r = method.previous.double()
    expected = projected(before, r, 0.1 ** (2 / method.task.steps + 1))
    torch.testing.assert_close(method.projector.double(), expected, rtol=1e-3, atol=1e-5)
    method.begin_epoch(1, trained)
    assert method._batch == 0 and method._calls > 0


def test_released_never_projects(tiny: Path) -> None:
    for folder, settings in (("released", {"variant": "released"}), ("none", {"projection": "none"})):
        loop(folder, training={"epochs": 2}, **settings).run()
    own, none = (read_tensors(Path(f"{folder}/state.safetensors"))[0] for folder in ("released", "none"))
    weights = [name for name in own if name.startswith("module/model")]
    assert weights and all(torch.equal(own[name], none[name]) for name in weights)
    assert "module/projector" not in own
    resolved = MLASettings(variant="released", projection="elementwise", prediction="fixed")
    assert (resolved.projects, resolved.predicts) == ("elementwise", "fixed")
    assert (MLASettings().projects, MLASettings().predicts) == ("scalar", "entropy")


def test_encoders_start_as_those_of_joint_and_share_one_head(tiny: Path) -> None:
    method, _ = made()
    joint = Setup.open(params(), "tiny", "joint", 0).model().state_dict()
    own = method.model.state_dict()
    assert all(torch.equal(own[name], joint[name]) for name in joint if name.startswith("encoders"))
    assert {name: tuple(value.shape) for name, value in own.items() if name.startswith("fusion")} == {
        "fusion.linear.weight": (3, 32),
        "fusion.linear.bias": (3,),
    }


@pytest.mark.parametrize(
    ("width", "mapped"), [(None, {"text", "facts"}), (8, {"audio"}), (5, {"audio", "text", "facts"})]
)
def test_features_of_another_width_are_mapped(tiny: Path, width: int | None, mapped: set[str]) -> None:
    tiny_dataset.write(tiny, third=SEQUENCES)
    method, batch = made(SEQUENCES, width=width)
    assert method.model.fusion.dims == {"audio": 32, "text": 8, "facts": 8}
    assert set(method.head.maps) == mapped and method.head.linear.in_features == (width or 32)
    assert method.model.predict(batch.inputs).logits.shape == (16, 3)


@pytest.mark.parametrize(
    ("settings", "third"),
    [
        ({}, SEQUENCES),
        ({"project_on": "previous"}, False),
        pytest.param({}, False, marks=pytest.mark.slow),
        pytest.param({"project_on": "previous"}, SEQUENCES, marks=pytest.mark.slow),
    ],
)
def test_a_broken_run_goes_on_bit_for_bit(tiny: Path, third: bool | tuple[str, ...], settings: dict[str, Any]) -> None:
    tiny_dataset.write(tiny, third=third)
    second = goes_on_bit_for_bit(lambda folder: loop(folder, third, **settings), again=True)
    metrics = second.progress.history[-1]["metrics"]
    assert 0 < metrics["head/kept"] < 1 and all(metrics[f"{m}/loss"] > 0 for m in tiny_dataset.names(third))
    assert float(second.method.projector.diagonal().min()) < 1, "the projector is at work"


@pytest.mark.parametrize(
    ("optimizer", "settings", "warned"), [("sgd", {}, 0), ("adam", {}, 1), ("adamw", {"projection": "none"}, 0)]
)
def test_optimizers_that_undo_it_are_named(
    tiny: Path, caplog: pytest.LogCaptureFixture, optimizer: str, settings: dict[str, Any], warned: int
) -> None:
    own = params(training={"epochs": 1, "optimizer": {"name": optimizer, "lr": 0.01}}, **settings)
    with caplog.at_level(logging.WARNING):
        train.run(own, "tiny", "mla", 0)
    assert [f"mla: {optimizer} rescales every weight" in r.getMessage() for r in caplog.records] == [True] * warned


def test_evaluation_predicts_by_entropy(tiny: Path) -> None:
    own = params()
    train.run(own, "tiny", "mla", 0)
    tensors, meta = read_tensors(model_folder("tiny", "mla", 0) / "last.safetensors")
    assert not any("projector" in name for name in tensors), "no trace of the method but its head"
    setup = Setup.open(own, "tiny", "mla", 0)
    model = setup.model(meta["structure"])
    model.load_state_dict(tensors)
    assert isinstance(model.fusion, SharedHead)
    found = predict(model, setup.data, "test", 32)
    u = torch.stack(list(found.readouts.values()))
    torch.testing.assert_close(found.logits, (entropy_weights(u) * u).sum(0))
    evaluate.run(own, "tiny", "mla", 0)
    measured = read_json(model_folder("tiny", "mla", 0) / "evaluation.json")["selection"]["last"]["test"]
    assert measured["accuracy"] == pytest.approx(float((found.logits.argmax(1) == found.labels).double().mean()))
    assert set(measured["modalities"]) == {"split", "zero-feature"}


def test_a_regression_merges_by_fixed_weights(tiny: Path) -> None:
    own = tiny_dataset.write_regression(tiny, methods={"mla": {"prediction": "fixed"}})
    train.run(own, "tiny", "mla", 0)
    tensors, meta = read_tensors(model_folder("tiny", "mla", 0) / "last.safetensors")
    setup = Setup.open(own, "tiny", "mla", 0)
    model = setup.model(meta["structure"])
    model.load_state_dict(tensors)
    found = predict(model, setup.data, "test", 32)
    torch.testing.assert_close(found.logits, sum(found.readouts.values()) / 2)
    with pytest.raises(UserError, match=r"needs classes; datasets.tiny.task is regression: set methods.mla.prediction"):
        tiny_dataset.write_regression(tiny, methods={"mla": {}}).check_pair("tiny", "mla")


def test_what_it_refuses(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"methods.mla.merge has 3 weights for 2 modalities \(audio, visual\)"):
        params(merge=[1, 1, 1]).check_pair("tiny", "mla")
    with pytest.raises(UserError, match="projection"):
        params(projection="off")


def test_a_projector_that_is_not_symmetric_is_transposed(tiny: Path) -> None:
    method, batch = made(projection="elementwise")
    method(batch, "audio").loss.backward()
    method._calls = 1
    method.projector.copy_(torch.rand(32, 32, generator=torch.Generator().manual_seed(0)))
    gradient, projector = method.head.linear.weight.grad.clone(), method.projector.clone()
    method.after_backward(TRAINER)
    expected = projected(projector, method.previous, 0.1, elementwise=True)
    torch.testing.assert_close(method.head.linear.weight.grad, torch.einsum("ki,ji->kj", gradient, expected))
