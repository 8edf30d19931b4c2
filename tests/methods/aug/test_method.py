"""AUG by its formulas: residual labels, assignment, classifiers that are added, trained, resumed and exported."""

import copy
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
from equimodal.methods.aug import method as aug
from equimodal.methods.aug.method import AUG, BoostedHeads, assigned, boosting_loss
from equimodal.methods.aug.settings import AUGSettings
from equimodal.methods.base import Batch, Step
from equimodal.stages import evaluate, train
from equimodal.stages.setup import Setup
from equimodal.store import read_json, read_tensors
from equimodal.training.loop import Loop
from equimodal.training.measure import predict
from tiny_method import loop_of, opened

TRAINER: Any = SimpleNamespace(device="cpu", processes=1, total=lambda value: value)
EVERY = {"interval": 1, "tau": 0.0}  # a classifier after each epoch but the last


def params(third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any) -> Any:
    return tiny_dataset.params(third, training=training or {}, methods={"aug": settings, "aim": {"start_epoch": 0}})


def made(third: bool | tuple[str, ...] = False, kind: type[AUG] | None = None, **settings: Any) -> tuple[AUG, Batch]:
    method, batch = opened(params(third, **settings), "aug", kind)
    assert isinstance(method, AUG)
    method.begin_epoch(0, TRAINER)
    return method, batch


def loop(
    folder: str,
    third: bool | tuple[str, ...] = False,
    kind: type[AUG] | None = None,
    training: dict[str, Any] | None = None,
    **settings: Any,
) -> Loop:
    return loop_of(folder, params(third, training, **settings), "aug", kind)


def files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def softmax(u: Any) -> Any:
    e = np.exp(u - u.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def cross_entropy(u: Any, target: Any) -> float:
    return float(-(target * np.log(softmax(u))).sum(1).mean())


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_loss_is_the_papers(count: int, merged: bool) -> None:
    draw = np.random.default_rng(count)
    each = [draw.normal(size=(5, 4)) for _ in range(count)]
    labels = draw.integers(4, size=5)
    y = np.eye(4)[labels]
    expected = cross_entropy(each[-1], y)
    if count > 1:
        known = softmax(sum(each[:-1])) if merged else sum(softmax(u) for u in each[:-1])
        residual = y - 0.3 * y * known
        expected = cross_entropy(each[-1], residual) + cross_entropy(sum(each), y) + cross_entropy(sum(each[:-1]), y)
        # linear in the soft label, as the released code writes it
        assert cross_entropy(each[-1], residual) == pytest.approx(
            cross_entropy(each[-1], y) - 0.3 * cross_entropy(each[-1], y * known), abs=1e-12
        )
    found = boosting_loss([torch.from_numpy(u) for u in each], torch.from_numpy(labels), 0.3, merged)
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_what_earlier_classifiers_know_is_a_constant() -> None:
    torch.manual_seed(0)
    first, second = (torch.randn(6, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    labels = torch.arange(6) % 3
    y = functional.one_hot(labels, 3).double()
    target = y - 0.5 * y * first.detach().softmax(1)
    plain = (
        functional.cross_entropy(second, target)
        + functional.cross_entropy(first + second, labels)
        + functional.cross_entropy(first, labels)
    )
    expected = torch.autograd.grad(plain, [first, second])
    found = torch.autograd.grad(boosting_loss([first, second], labels, 0.5), [first, second])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_a_label_is_never_negative() -> None:
    sure = torch.tensor([[20.0, 0.0]])
    newest = torch.tensor([[0.0, 3.0]])
    left = boosting_loss([sure, sure, sure, newest], torch.tensor([0]), 0.5) - boosting_loss(
        [sure, sure, sure, newest], torch.tensor([0]), 1.0
    )
    assert float(left) == 0.0


@pytest.mark.parametrize(
    ("scores", "settings", "expected"),
    [
        ({"audio": 0.6, "visual": 0.5}, {}, ["visual"]),
        ({"audio": 0.5, "visual": 0.6}, {}, ["audio"]),
        ({"audio": 0.505, "visual": 0.5}, {}, []),
        ({"audio": 0.6, "visual": 0.5}, {"sigma": 1.3}, []),
        ({"audio": 0.6, "visual": 0.5, "text": 0.55}, {}, ["visual"]),
        ({"audio": 0.6, "visual": 0.595, "text": 0.6}, {}, []),
        ({"audio": 0.505, "visual": 0.5}, {"score": "ratio"}, []),
        ({"audio": 0.51, "visual": 0.5}, {"score": "ratio"}, ["visual"]),
        ({"audio": 0.49, "visual": 0.5}, {"score": "ratio"}, ["audio"]),
        ({"audio": 0.2, "visual": 0.5, "text": 0.5}, {"score": "ratio"}, ["audio"]),
        ({"audio": 0.21, "visual": 0.2, "text": 0.6}, {"score": "ratio"}, ["audio", "visual"]),
        ({"audio": 0.5, "visual": 0.5, "text": 0.5}, {"score": "ratio"}, []),
    ],
)
def test_who_gets_a_classifier(scores: dict[str, float], settings: dict[str, Any], expected: list[str]) -> None:
    assert assigned(scores, AUGSettings(**settings)) == expected


class Heads(AUG):
    """What AUG is without added classifiers: cross entropy of each modality's head,
    by the framework's plain forward pass.
    """

    def forward(self, batch: Batch, modality: str | None = None) -> Step:
        self._scores += 1
        outputs = self.model(batch.inputs)
        alone = self.model.readout(outputs.features)
        return Step(sum(functional.cross_entropy(u, batch.labels) for u in alone.values()), outputs.logits, {})  # type: ignore[arg-type]


@pytest.mark.parametrize("third", [False, True])
def test_without_added_classifiers_it_is_cross_entropy_a_head_bit_for_bit(tiny: Path, third: bool) -> None:
    tiny_dataset.write(tiny, third=third)
    for folder, kind in (("own", AUG), ("plain", Heads)):
        trained = loop(folder, third, kind, {"epochs": 2}, interval=99)
        trained.run()
        assert trained.method.structure() == {"classifiers": trained.method.model.modalities}
        torch.save(trained.method.model.state_dict(), f"{folder}.pt")
    own, plain = torch.load("own.pt"), torch.load("plain.pt")
    assert own.keys() == plain.keys() and all(torch.equal(own[name], plain[name]) for name in own)


def test_encoders_start_as_those_of_joint(tiny: Path) -> None:
    method, _ = made()
    joint = Setup.open(params(), "tiny", "joint", 0).model().state_dict()
    own = method.model.state_dict()
    assert all(torch.equal(own[name], joint[name]) for name in joint if name.startswith("encoders"))
    assert not any(name.startswith("fusion.linear") for name in own), "no fused head is left"


@pytest.mark.parametrize(("merge", "weights"), [(None, [0.5, 0.5]), ([0.4, 0.6], [0.4, 0.6])])
def test_predictions_merge_the_sums_of_the_classifiers(
    tiny: Path, merge: list[float] | None, weights: list[float]
) -> None:
    method, batch = made(merge=merge)
    for owner in ("visual", "audio", "visual"):
        method.heads.add(owner)
    outputs = method.model.eval()(batch.inputs)
    state = {name: value.numpy() for name, value in method.model.fusion.state_dict().items()}
    merged = 0
    for name, weight in zip(("audio", "visual"), weights, strict=True):
        z = outputs.features[name].detach().numpy()
        total = 0
        for t, owner in enumerate(method.heads.owners):
            if owner == name:
                hidden = np.maximum(z @ state[f"classifiers.{t}.0.weight"].T + state[f"classifiers.{t}.0.bias"], 0)
                total = total + hidden @ state["layer2.all.weight"].T + state["layer2.all.bias"]
        np.testing.assert_allclose(
            method.model.readout(outputs.features)[name].detach().numpy(), total, rtol=1e-4, atol=1e-5
        )
        merged = merged + weight * total
    np.testing.assert_allclose(outputs.logits.detach().numpy(), merged, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("shared", "layers"), [("all", 1), ("modality", 2), ("none", 4)])
def test_layer2_is_shared_as_asked(tiny: Path, shared: str, layers: int) -> None:
    method, batch = made(shared_head=shared, width=6)
    method.heads.add("visual")
    method.heads.add("visual")
    shapes = [tuple(p.shape) for p in method.model.fusion.parameters() if p.dim() == 2]
    width = method.model.fusion.dims["audio"]
    assert sorted(shapes) == sorted([(6, width)] * 4 + [(3, 6)] * layers)
    assert method(batch).loss.isfinite() and len(list(method.main_parameters())) == len(set(method.main_parameters()))


def test_width_is_half_of_the_widest_feature(tiny: Path) -> None:
    method, _ = made()
    assert method.heads.width == max(method.model.fusion.dims.values()) // 2 == 16


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_added_classifiers_are_trained_and_the_released_ones_are_not(tiny: Path, optimizer: str) -> None:
    for added, moves in (("trained", True), ("frozen_random", False)):
        starts: dict[str, Tensor] = {}

        class Spy(AUG):
            def begin_epoch(self, epoch: int, loop: Loop) -> None:
                super().begin_epoch(epoch, loop)
                for name, value in self.model.fusion.state_dict().items():
                    starts.setdefault(name, value.clone())  # noqa: B023  # read in this round of the loop only

        settings = {"epochs": 3, "optimizer": {"name": optimizer, "lr": 0.01}}
        trained = loop(f"{added}", kind=Spy, training=settings, added=added, **EVERY)
        trained.run()
        ends = trained.method.model.fusion.state_dict()
        owners = trained.method.structure()["classifiers"]
        assert len(owners) == 4 and starts.keys() == ends.keys(), "one after each epoch but the last"
        known = {id(p) for group in trained.plain_optimizer.param_groups for p in group["params"]}
        assert known == {id(p) for p in trained.method.model.parameters()}
        for name in ends:
            new = int(name.split(".")[1]) >= 2 if name.startswith("classifiers") else False
            assert torch.equal(starts[name], ends[name]) == (new and not moves), name
        assert {group["lr"] for group in trained.plain_optimizer.param_groups} == {
            trained.progress.history[-1]["metrics"]["train/lr"]
        }


def test_a_classifier_is_measured_only_after_it_was_trained(tiny: Path) -> None:
    history = loop("run", training={"epochs": 3}, **EVERY).run().history
    counts = [entry["metrics"]["audio/classifiers"] + entry["metrics"]["visual/classifiers"] for entry in history]
    assert counts == [2, 3, 4]
    for entry in history:
        assert 0 < entry["metrics"]["audio/score"] < 1


def test_scores_are_mean_true_class_probabilities_of_the_epoch(tiny: Path) -> None:
    seen: list[tuple[dict[str, Tensor], Tensor]] = []

    class Spy(AUG):
        def forward(self, batch: Batch, modality: str | None = None) -> Step:
            with torch.no_grad():
                out = copy.deepcopy(self.model)(batch.inputs)  # a copy: batch normalisation counts passes
                seen.append((self.model.readout(out.features), batch.labels))
            return super().forward(batch, modality)

    metrics = loop("run", kind=Spy, training={"epochs": 1}).run().history[0]["metrics"]
    for name in ("audio", "visual"):
        p = torch.cat([u[name].softmax(1)[torch.arange(len(labels)), labels] for u, labels in seen])
        assert metrics[f"{name}/score"] == pytest.approx(float(p.mean()), rel=1e-5) and len(p) == 60


def test_alternating_steps_are_one_modality_at_a_time(tiny: Path) -> None:
    trained = loop("run", step="alternate", training={"epochs": 1, "schedule": {"name": "constant"}})
    batch = next(iter(trained.batches(0)))
    method = trained.method.train()
    method.begin_epoch(0, trained)
    plain = copy.deepcopy(method.model)
    step = method.training_step(batch, trained)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    losses = []
    for name in ("audio", "visual"):
        u = plain.fusion.readout(
            {
                other: plain.encoders[other](batch.inputs[other]) if other == name else torch.zeros(16, 32)
                for other in plain.modalities
            }
        )[name]
        loss = functional.cross_entropy(u, batch.labels)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(
            loss,
            inputs=[
                *plain.encoders[name].parameters(),
                *[p for n, p in plain.fusion.named_parameters() if touched(n, name)],
            ],
        )
        optimizer.step()
        losses.append(loss.detach())
    assert torch.equal(step.loss, torch.stack(losses).sum())
    mine = method.model.state_dict()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(mine[name], value, msg=name)


def touched(parameter: str, modality: str) -> bool:
    return parameter.startswith(("layer2", f"classifiers.{['audio', 'visual'].index(modality)}."))


@pytest.mark.parametrize(("optimizer", "third", "step"), [("sgd", False, "together"), ("adamw", True, "alternate")])
def test_a_broken_run_goes_on_with_the_classifiers_it_had(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, third: bool, step: str
) -> None:
    tiny_dataset.write(tiny, third=third)
    # In this order: three checks of the unbroken run and its last, which no epoch follows;
    # then those of the broken one.
    rounds = iter([["visual"], ["audio", "visual"], ["visual"], []] * 2)
    monkeypatch.setattr(aug, "assigned", lambda scores, settings: next(rounds))
    settings = {"training": {"epochs": 4, "optimizer": {"name": optimizer, "lr": 0.01}}, "step": step, **EVERY}
    unbroken = loop("unbroken", third, **settings)
    unbroken.run()
    names = unbroken.method.model.modalities
    assert unbroken.method.structure() == {"classifiers": [*names, "visual", "audio", "visual", "visual"]}
    for until in (1, 3, 4):
        part = loop("broken", third, **settings)
        assert part.resume() == (until > 1)
        torch.rand(7)  # another process would stand elsewhere in the global stream
        part.run(until=until)
    assert files("broken") == files("unbroken")


def test_padded_sequences_beside_sound(tiny: Path) -> None:
    names = ("audio", "text", "face")
    tiny_dataset.write(tiny, third=names)
    trained = loop("run", names, training={"epochs": 3}, **EVERY)
    metrics = trained.run().history[-1]["metrics"]
    assert (
        sum(metrics[f"{name}/classifiers"] for name in names) == 5 and len(set(trained.method.heads.dims.values())) > 1
    )
    assert all(0 < metrics[f"{name}/score"] < 1 for name in names)


def test_a_new_classifier_draws_from_its_own_generator(tiny: Path) -> None:
    method, _ = made()
    method._waiting = ["visual"]
    state = torch.get_rng_state()
    method.begin_epoch(1, TRAINER)
    assert torch.equal(torch.get_rng_state(), state)
    again, _ = made()
    again._waiting = ["visual"]
    torch.rand(5)
    again.begin_epoch(1, TRAINER)
    first, second = (method.model.fusion.state_dict(), again.model.fusion.state_dict())
    assert (
        all(torch.equal(first[name], second[name]) for name in first)
        and float(first["classifiers.2.0.weight"].std()) > 0
    )


def test_the_export_carries_the_classifiers_and_evaluation_reads_it(tiny: Path) -> None:
    own = params(**EVERY)
    train.run(own, "tiny", "aug", 0)
    tensors, meta = read_tensors(model_folder("tiny", "aug", 0) / "last.safetensors")
    assert len(meta["structure"]["classifiers"]) == 4 and "classifiers.3.0.weight" in {
        name.removeprefix("fusion.") for name in tensors
    }
    setup = Setup.open(own, "tiny", "aug", 0)
    model = setup.model(meta["structure"])
    model.load_state_dict(tensors)
    assert isinstance(model.fusion, BoostedHeads)
    found = predict(model, setup.data, "test", 32)
    torch.testing.assert_close(found.logits, sum(found.readouts.values()) / 2)
    evaluate.run(own, "tiny", "aug", 0)
    measured = read_json(model_folder("tiny", "aug", 0) / "evaluation.json")
    assert measured["selection"]["last"]["test"]["accuracy"] == pytest.approx(
        float((found.logits.argmax(1) == found.labels).double().mean())
    )
    assert set(measured["selection"]["last"]["test"]["modalities"]) == {"split", "zero-feature"}


def test_the_released_preset_and_what_it_refuses(tiny: Path) -> None:
    method, batch = made(preset="released")
    assert method.settings.added == "frozen_random" and method.heads.merge == {"audio": 0.4, "visual": 0.6}
    assert method.end_epoch(0, TRAINER) if method(batch) else False
    tiny_dataset.write(tiny, third=True)
    with pytest.raises(UserError, match=r"methods\.aug\.merge has 2 weights for 3 modalities"):
        tiny_dataset.params(True, methods={"aug": {"preset": "released"}}).check_pair("tiny", "aug")
    loop("run", True, training={"epochs": 2}, preset="released", merge=None).run()
