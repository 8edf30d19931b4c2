"""DGL by its formulas: each part of the model has the gradient of its own loss, and of no other."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import tiny_dataset
import training_process
from equimodal.engines.layout import model_folder
from equimodal.methods.base import Batch, Method
from equimodal.methods.dgl.method import DGL
from equimodal.methods.joint.method import Joint
from equimodal.methods.joint.settings import JointSettings
from equimodal.models.framework import MultimodalModel
from equimodal.models.fusion import Concat
from equimodal.params import Params
from equimodal.store import read_tensors
from equimodal.training.loop import Loop
from tiny_method import goes_on_bit_for_bit, loop_of, opened, warned_of

SEQUENCES = ("audio", "text", "facts")  # features of unequal width


def params(third: bool | tuple[str, ...] = False, fusion: str = "concat", **settings: Any) -> Params:
    methods = {"dgl": settings, "aim": {"start_epoch": 0}}
    return tiny_dataset.params(third, model={"fusion": fusion}, training={"epochs": 2}, methods=methods)


def loop(folder: str, own: Params) -> Loop:
    return loop_of(folder, own, "dgl")


def gradients(method: Method[Any], batch: Batch) -> dict[str, Tensor]:
    """Of every parameter, by one pass of the method's loss; dropout from a fixed seed."""
    torch.manual_seed(3)
    method.train()(batch).loss.backward()
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


def alone(fusion: Any, name: str, features: dict[str, Tensor]) -> Tensor:
    """A modality's readout, from the definition: its part of a concat or sum head, or the others' features at zero."""
    if hasattr(fusion, "linears"):
        return features[name] @ fusion.linears[name].weight.T + fusion.linears[name].bias
    zeroed = {m: z if m == name else torch.zeros_like(z) for m, z in features.items()}
    bias = fusion.linear.bias * (1 - 1 / len(zeroed)) if fusion.readout_name == "split" else 0.0
    return fusion(zeroed) - bias


@pytest.mark.parametrize(
    ("third", "fusion"),
    [
        (False, "concat"),
        (False, "film"),
        (False, "gated"),
        (True, "sum"),
        (SEQUENCES, "concat"),
    ],
)
def test_encoders_have_the_unimodal_gradient_and_the_head_the_fused_one(
    tiny: Path, third: bool | tuple[str, ...], fusion: str
) -> None:
    tiny_dataset.write(tiny, third=third)
    method, batch = opened(params(third, fusion, alpha=2.5), "dgl")
    model = copy.deepcopy(method.model.train())
    found = gradients(method, batch)
    torch.manual_seed(3)
    outputs = model(batch.inputs)
    fused = functional.cross_entropy(outputs.logits, batch.labels)
    own = [functional.cross_entropy(alone(model.fusion, m, outputs.features), batch.labels) for m in model.modalities]
    encoders, head = ({n: p for n, p in model.named_parameters() if n.startswith(part)} for part in ("enc", "fus"))
    expected = dict(zip(head, torch.autograd.grad(fused, list(head.values()), retain_graph=True), strict=True))
    total = 2.5 * torch.stack(own).sum()
    expected |= dict(zip(encoders, torch.autograd.grad(total, list(encoders.values())), strict=True))
    assert found.keys() == {f"model.{name}" for name in expected}
    for name, value in expected.items():
        scale = float(value.abs().max())
        torch.testing.assert_close(found[f"model.{name}"], value, msg=name, rtol=1e-3, atol=1e-4 * scale + 1e-8)
    step = method(batch)
    assert all(p.requires_grad for p in method.parameters())
    names = [f"{name}/loss" for name in model.modalities]
    assert set(step.logs) == {"fused/loss", *names}
    parts = [float(step.logs[name]) for name in names]
    assert float(step.loss.detach()) == pytest.approx(float(step.logs["fused/loss"]) + 2.5 * sum(parts), rel=1e-5)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_head_knows_nothing_of_alpha(tiny: Path, precision: str) -> None:
    found = []
    for alpha in (1.0, 4.0):
        own = tiny_dataset.params(runtime={"precision": precision}, methods={"dgl": {"alpha": alpha}})
        run = loop(f"{precision}-{alpha}", own)
        batch = next(run.batches(0))
        run.backward(run.module(batch).loss)
        found.append({name: p.grad for name, p in run.method.named_parameters()})
    for name, value in found[0].items():
        if "fusion" in name:
            assert torch.equal(value, found[1][name])
        else:
            torch.testing.assert_close(
                found[1][name], 4 * value, rtol=1e-2 if precision == "32-true" else 0.1, atol=1e-4
            )


def test_an_encoder_learns_as_if_the_others_were_not_there(tiny: Path) -> None:
    """Other labels of the fused loss, or another modality's inputs, leave an encoder's gradient as it is."""
    method, batch = opened(params(fusion="sum"), "dgl")
    first = gradients(copy.deepcopy(method), batch)
    changed = {"audio": batch.inputs["audio"], "visual": torch.randn_like(batch.inputs["visual"])}  # type: ignore[arg-type]
    second = gradients(method, Batch(changed, batch.labels))
    same = [torch.equal(value, second[name]) for name, value in first.items() if "audio" in name]
    assert sum(same) >= len(same) - 2 and len(same) > 6, "all but the head's weight, and its bias"
    assert not any(torch.equal(v, second[n]) for n, v in first.items() if "encoders.visual" in n and v.abs().max() > 0)


def test_one_modality_trains_its_encoder_at_alpha_times_the_rate(tiny: Path) -> None:
    method, batch = opened(params(alpha=3.0), "dgl")
    assert isinstance(method, DGL)
    encoder: Any = method.model.encoders["audio"]
    single = MultimodalModel({"audio": encoder}, Concat({"audio": method.model.fusion.dims["audio"]}, 3))
    other = Joint(copy.deepcopy(single), JointSettings(), method.task)
    found = gradients(DGL(single, method.settings, method.task), batch)
    for name, value in gradients(other, batch).items():
        factor = 3.0 if "encoders" in name else 1.0
        torch.testing.assert_close(found[name], factor * value, rtol=1e-3, atol=1e-5)


def test_a_regression_is_disentangled_too(tiny: Path) -> None:
    own = tiny_dataset.write_regression(tiny, methods={"dgl": {"alpha": 1.0}})
    metrics = loop("run", own).run(until=1).history[0]["metrics"]
    parts = [metrics[f"{name}/loss"] for name in ("fused", "audio", "visual")]
    assert metrics["train/loss"] == pytest.approx(sum(parts), rel=1e-5)


def test_a_broken_run_goes_on_bit_for_bit(tiny: Path) -> None:
    tiny_dataset.write(tiny, third=True)
    own = params(True)
    goes_on_bit_for_bit(lambda folder: loop(folder, own))


@pytest.mark.parametrize(
    ("optimizer", "alpha", "warned"),
    [("sgd", 4.0, False), ("adam", 4.0, True), ("adamw", 4.0, True), ("adam", 1.0, False)],
)
def test_optimizers_that_undo_it_are_named(
    tiny: Path, caplog: pytest.LogCaptureFixture, optimizer: str, alpha: float, warned: bool
) -> None:
    method, _ = opened(params(alpha=alpha), "dgl")
    assert isinstance(method, DGL)
    said = warned_of(optimizer, method, caplog)
    assert [f"{optimizer} divides alpha" in line for line in said] == [True] * warned


@pytest.mark.slow
def test_two_processes_train(tiny: Path) -> None:
    tiny_dataset.write_params(
        tiny, runtime={"devices": 2}, training={"batch_size": 8, "epochs": 2}, methods={"dgl": {}}
    )
    before = {n: p.clone() for n, p in opened(params(), "dgl")[0].model.named_parameters()}
    training_process.run("train", "--dataset", "tiny", "--method", "dgl", "--seed", "0")
    after = read_tensors(model_folder("tiny", "dgl", 0) / "last.safetensors")[0]
    assert not any(torch.equal(value, after[name]) for name, value in before.items()), "DDP steps head and encoders"
