"""What a method may ask of the loop: each request of the Trainer protocol, seen through a method that makes it."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tiny_dataset
from equimodal.errors import UserError
from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.methods.joint.method import Joint
from equimodal.methods.joint.settings import JointSettings
from equimodal.models.framework import Exchange, MultimodalModel
from equimodal.models.frozen import evaluation_mode, untracked
from equimodal.models.fusion import Concat
from equimodal.models.padded import zeroed_inputs
from equimodal.settings.method import MethodSettings
from equimodal.stages.setup import Setup
from equimodal.training.loop import Loop
from equimodal.training.measure import measures, predict

Plain = Method[MethodSettings]


def loop_of(tiny: Path, kind: type[Plain], epochs: int = 2, folder: str = "state", **training: Any) -> Loop:
    """A loop over the tiny dataset for a method that is no registered one."""
    params = tiny_dataset.params(training={"epochs": epochs, **training})
    setup = Setup.open(params, "tiny", "joint", 0, kind=kind)
    trained = setup.method()
    return Loop(trained, setup.data, params.training_of("tiny"), params.runtime, 0, tiny / folder, "key", "test")


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def test_features_of_a_split_are_those_of_evaluation_and_leave_the_model_alone(tiny: Path) -> None:
    loop = loop_of(tiny, Joint)
    model = loop.method.model
    model.train()
    model.fusion.eval()  # a mode of its own, which stays
    before = state(model)
    for split in ("train", "val", "test"):
        found = loop.features(split)
        assert len(found.labels) == loop.data.count(split) == len(found.logits)
        for name, feature in found.features.items():
            assert feature.shape == (len(found.labels), model.fusion.dims[name]) and not feature.requires_grad
        torch.testing.assert_close(model.fuse(found.features), found.logits, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(sum(found.readouts.values()), found.logits, rtol=1e-5, atol=1e-5)
        assert torch.equal(found.labels, loop.data.split_labels(split))
    assert same(before, state(model)) and model.encoders.training and not model.fusion.training


class HoldsOut(Plain):
    """Keeps a quarter of training out of the batches."""

    def prepare(self, trainer: Trainer) -> None:
        trainer.hold_out(0.25)


def test_held_out_samples_are_in_no_batch_and_a_resumed_run_holds_out_the_same(tiny: Path) -> None:
    plain, loop = loop_of(tiny, Joint), loop_of(tiny, HoldsOut)
    total = plain.data.count("train")
    held = loop.features("held-out").labels
    assert loop.data.count("train") + len(held) == total and plain.data.count("train") == total
    counts = torch.bincount(plain.data.split_labels("train"), minlength=plain.data.objective.classes)
    drawn = torch.bincount(held, minlength=plain.data.objective.classes)
    assert torch.equal(drawn, (0.25 * counts).round().long().clamp(min=1)), "a quarter of every class"
    seen = sum(len(batch.labels) for batch in loop.batches(0))
    assert seen <= loop.data.count("train")
    loop.run(until=1)
    again = loop_of(tiny, HoldsOut)
    assert again.resume() and torch.equal(again.data._members["held-out"], loop.data._members["held-out"])
    again.run()
    whole = loop_of(tiny, HoldsOut, folder="other")
    whole.run()
    assert same(state(again.method.model), state(whole.method.model))


def test_nothing_to_hold_out_is_one_line(tiny: Path) -> None:
    loop = loop_of(tiny, Joint)
    loop.data._members["train"] = loop.data._members["train"][:1]
    with pytest.raises(UserError, match="nothing can be held out of training"):
        loop.hold_out(0.1)


class Rehearses(Plain):
    """Trains a copy for two epochs before its second one."""

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        if epoch == 1:
            other = Joint(copy.deepcopy(self.model), JointSettings(), self.task)
            before = state(other.model)
            trainer.rehearse(other, 2, "what-if")
            assert not same(before, state(other.model)), "it learned"
            self.seen = trainer.features("val", other.model).logits


def test_a_rehearsal_keeps_the_present_rate_or_goes_on_by_the_schedule(tiny: Path) -> None:
    rates: list[float] = []

    class Notes(Joint):
        def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
            rates.append(trainer.rate)

    loop = loop_of(tiny, Joint, epochs=4)  # cosine
    loop.run(until=1)
    for scheduled in (False, True):
        trial = Notes(copy.deepcopy(loop.method.model), JointSettings(), loop.method.task)
        loop.rehearse(trial, 2, "what-if", scheduled)
    assert rates == pytest.approx([(1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in (1, 1, 1, 2)])


def test_a_rehearsal_leaves_the_scale_of_16_mixed_alone(tiny: Path) -> None:
    params = tiny_dataset.params(runtime={"precision": "16-mixed"})
    setup = Setup.open(params, "tiny", "joint", 0)
    loop = Loop(setup.method(), setup.data, params.training, params.runtime, 0, tiny / "state", "key", "test")
    loop.run(until=1)
    before = loop.precision.state_dict()
    loop.rehearse(Joint(copy.deepcopy(loop.method.model), JointSettings(), loop.method.task), 1, "what-if")
    assert before and loop.precision.state_dict() == before


def test_a_rehearsal_moves_nothing_of_the_run(tiny: Path) -> None:
    plain, rehearsing = loop_of(tiny, Joint, folder="plain"), loop_of(tiny, Rehearses, folder="rehearsing")
    plain.run()
    rehearsing.run()
    assert same(state(plain.method.model), state(rehearsing.method.model))
    assert plain.progress.history == rehearsing.progress.history
    again = loop_of(tiny, Rehearses, folder="again")
    again.run()
    assert torch.equal(again.method.seen, rehearsing.method.seen), "the same rehearsal from the same seed"  # type: ignore[union-attr]


class InParts(Plain):
    """A quarter of the loss first, by itself; then the rest."""

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        step: Step = trainer.module(batch)
        before = state(self.model)
        trainer.backward(0.25 * step.loss)
        assert same(before, state(self.model)) and all(p.grad is not None for p in self.model.parameters())
        with untracked(self.model):
            again: Step = trainer.module(batch)
        assert same({name: value for name, value in before.items() if "running" in name}, state(self.model))
        trainer.optimize(0.75 * again.loss)
        assert all(parameter.grad is None for parameter in self.model.parameters())
        return step


def test_a_backward_pass_without_a_step_is_added_to_the_next(tiny: Path) -> None:
    parts, whole = (loop_of(tiny, kind, folder=kind.__name__) for kind in (InParts, Joint))
    for loop in (parts, whole):
        loop.run(until=1)
    for name, value in whole.method.model.named_parameters():
        torch.testing.assert_close(dict(parts.method.model.named_parameters())[name], value, rtol=1e-3, atol=1e-5)


class Short(Plain):
    """Its runs have half of the epochs."""

    changed: int = 0

    @classmethod
    def run_epochs(cls, settings: MethodSettings, epochs: int) -> int:
        return epochs // 2

    def after_evaluation(self, epoch: int, metrics: dict[str, float], trainer: Trainer) -> None:
        self.changed += 1


def test_a_method_may_have_epochs_of_its_own(tiny: Path) -> None:
    short = loop_of(tiny, Short, epochs=6, schedule={"name": "cosine"})
    plain = loop_of(tiny, Joint, epochs=3, schedule={"name": "cosine"}, folder="other")
    assert short.method.task.epochs == 3
    short.run()
    plain.run()
    assert same(state(short.method.model), state(plain.method.model)), "the schedule is of its own epochs"
    assert [row["epoch"] for row in short.progress.history] == [0, 1, 2]
    assert short.method.changed == 2, "not after the last one"  # type: ignore[attr-defined]


class Twice(Plain):
    """The head has an optimizer of its own, stepped after the main one."""

    def __init__(self, model: MultimodalModel, settings: MethodSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self.own = torch.optim.SGD(model.fusion.parameters(), lr=0.1)

    def main_parameters(self) -> list[nn.Parameter]:
        return list(self.model.encoders.parameters())

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"head": self.own}

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        before = state(self.model.encoders)
        step: Step = trainer.module(batch)
        trainer.optimize(step.loss, self.own)
        kept = dict(self.model.encoders.named_parameters())
        assert all(torch.equal(before[name], value) for name, value in kept.items()), "only the head stepped"
        assert all(parameter.grad is None for parameter in self.model.fusion.parameters())
        return step


def test_an_optimizer_of_the_method_s_own_is_stepped_and_resumed(tiny: Path) -> None:
    loop = loop_of(tiny, Twice)
    before = state(loop.method.model.fusion)
    loop.run(until=1)
    assert not same(before, state(loop.method.model.fusion))
    again = loop_of(tiny, Twice)
    assert again.resume()
    again.run()
    whole = loop_of(tiny, Twice, folder="other")
    whole.run()
    assert same(state(again.method.model), state(whole.method.model))


class Resets(Plain):
    """Sets the head to zero once an epoch is measured, as D&R sets encoders back."""

    def after_evaluation(self, epoch: int, metrics: dict[str, float], trainer: Trainer) -> None:
        assert {"val/accuracy", "test/accuracy", "train/loss"} <= set(metrics)
        self.calls = getattr(self, "calls", 0) + 1
        with torch.no_grad():
            for parameter in self.model.fusion.parameters():
                parameter.zero_()


def test_what_a_method_changes_after_evaluation_is_not_in_what_was_measured_but_in_what_goes_on(tiny: Path) -> None:
    loop = loop_of(tiny, Resets)
    loop.run(until=1)
    kept, exported = state(loop.method.model), tiny / "state" / "val-0.safetensors"
    assert all(float(p.abs().sum()) == 0 for p in loop.method.model.fusion.parameters()), "changed for the next epoch"
    from equimodal.store import read_tensors

    assert float(read_tensors(exported)[0]["fusion.linear.weight"].abs().sum()) > 0, "the exported one is the measured"
    resumed = loop_of(tiny, Resets)
    assert resumed.resume() and same(kept, state(resumed.method.model))
    resumed.run()
    assert float(resumed.method.model.fusion.linear.weight.abs().sum()) > 0, "the last epoch's model is the run's"  # type: ignore[operator, union-attr]


class Mean(Concat):
    """Trains on the sum, predicts by the mean of the readouts' probabilities."""

    def predict(self, features: dict[str, Tensor]) -> Tensor:
        return torch.stack([u.softmax(1) for u in self.readout(features).values()]).mean(0).log()


class PredictsOtherwise(Plain):
    """Its head has a rule of prediction of its own."""

    @classmethod
    def adapt(cls, model: MultimodalModel, settings: MethodSettings, structure: dict[str, Any]) -> MultimodalModel:
        model.fusion = Mean(model.fusion.dims, model.fusion.classes)
        return model


def test_evaluation_and_selection_use_the_model_s_own_rule_of_prediction(tiny: Path) -> None:
    loop = loop_of(tiny, PredictsOtherwise)
    loop.run()
    model = loop.method.model
    found = predict(model, loop.data, "val", 16)
    by_hand = torch.stack([u.softmax(1) for u in found.readouts.values()]).mean(0).log()
    torch.testing.assert_close(found.logits, by_hand)
    saved = loop.progress.history[-1]["metrics"]
    now = measures(found, loop.data.objective, "val")
    assert {key: saved[key] for key in now} == now


class Swap(Exchange):
    """Adds to each modality's maps the mean of the other's: one number, as frames are folded into the first axis."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))
        self.depths: list[int] = []

    def forward(self, depth: int, maps: dict[str, Any], pooled: dict[str, Tensor]) -> dict[str, Any]:
        self.depths.append(depth)
        assert {z.shape[1] for z in pooled.values()} == {4 * 2**depth}
        assert len({len(z) for z in pooled.values()}) == 1, "a row a sample, also where frames are folded"
        other = dict(zip(maps, reversed([x.mean() for x in maps.values()]), strict=True))
        return {name: x + self.weight * other[name] for name, x in maps.items()}


def test_an_exchange_between_depths_sees_every_depth_and_takes_part_in_training(tiny: Path) -> None:
    class Exchanging(Plain):
        @classmethod
        def adapt(cls, model: MultimodalModel, settings: MethodSettings, structure: dict[str, Any]) -> MultimodalModel:
            model.exchange = Swap()
            return model

    loop = loop_of(tiny, Exchanging)
    plain = loop_of(tiny, Joint, folder="plain").method.model
    model = loop.method.model
    batch = next(iter(loop.batches(0)))
    exchange = model.exchange
    assert isinstance(exchange, Swap)
    with torch.no_grad(), evaluation_mode(model), evaluation_mode(plain):
        exchange.weight.zero_()
        apart, together = plain(batch.inputs), model(batch.inputs)
        assert torch.equal(apart.logits, together.logits), "an exchange that adds nothing changes nothing"
        assert exchange.depths == [0, 1, 2, 3]
        exchange.weight.fill_(0.5)
        moved = model(batch.inputs)
        assert not torch.equal(moved.logits, apart.logits)
        torch.testing.assert_close(moved.logits, model.fuse(moved.features))
    loop.run()
    assert float(exchange.weight.detach()) != 0.5, "it is trained and exported with the model"
    assert "exchange.weight" in model.state_dict()


def test_zeroed_inputs_in_evaluation_mode_have_gradients_and_touch_no_buffer(tiny: Path) -> None:
    loop = loop_of(tiny, Joint)
    model = loop.method.model
    model.train()
    batch = next(iter(loop.batches(0)))
    before = state(model)
    with evaluation_mode(model):
        outputs = model(zeroed_inputs(batch.inputs, ["visual"]))
    outputs.logits.sum().backward()
    assert same(before, state(model)) and model.training
    assert model.encoders["audio"].conv1.weight.grad is not None  # type: ignore[union-attr]
    assert float(batch.inputs["visual"].abs().sum()) > 0, "the batch itself is as it was"  # type: ignore[union-attr]


class Parts(Plain):
    """Asks for the gradients of half its loss before the step."""

    def forward(self, batch: Batch) -> Step:
        outputs = self.model(batch.inputs)
        self.half = 0.5 * self.loss(batch, outputs)
        return Step(2 * self.half, outputs.logits.detach(), {})

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        step: Step = trainer.module(batch)
        parameters = [*self.model.parameters(), nn.Parameter(torch.ones(2))]
        self.found = trainer.gradients(self.half, parameters)
        assert all(p.grad is None for p in parameters)
        trainer.optimize(step.loss)
        return step

    def after_backward(self, trainer: Trainer) -> None:
        self.whole = [p.grad.clone() for p in self.model.parameters() if p.grad is not None]


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_gradients_of_a_part_of_the_loss_are_true_and_leave_the_step_alone(tiny: Path, precision: str) -> None:
    params = tiny_dataset.params(runtime={"precision": precision})
    setup = Setup.open(params, "tiny", "joint", 0, kind=Parts)
    method = setup.method()
    loop = Loop(method, setup.data, params.training_of("tiny"), params.runtime, 0, tiny / "state", "key", "test")
    plain = loop_of(tiny, Joint, folder="plain")
    batch = next(loop.batches(0))
    method.training_step(batch, loop)
    assert isinstance(method, Parts)
    *found, unreached = method.found
    assert torch.equal(unreached, torch.zeros(2)) and len(found) == len(method.whole)
    for part, whole in zip(found, method.whole, strict=True):
        torch.testing.assert_close(part, 0.5 * whole, rtol=1e-5 if precision == "32-true" else 0.05, atol=1e-4)
    if precision == "32-true":
        plain.method.training_step(batch, plain)
        assert same(state(plain.method.model), state(method.model))
