"""Greedy by its formulas: gates between the branches, learning speeds, steps with held gates."""

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
from equimodal.methods.base import Batch
from equimodal.methods.greedy.gates import gated
from equimodal.methods.greedy.method import Greedy, learning_speeds, speed_ratios
from equimodal.models.padded import Padded
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.store import read_json, read_tensors
from equimodal.training.loop import Loop
from equimodal.training.measure import predict
from tiny_method import loop_of, opened

TRAINER: Any = SimpleNamespace(device="cpu", processes=1, total=lambda value: value)
SEQUENCES = ("audio", "text", "facts")  # maps, padded sequences and vectors; four, three and two depths


def params(third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any) -> Any:
    return tiny_dataset.params(third, training=training or {}, methods={"greedy": settings, "aim": {"start_epoch": 0}})


def made(third: bool | tuple[str, ...] = False, **settings: Any) -> tuple[Greedy, Batch]:
    method, batch = opened(params(third, **settings), "greedy")
    assert isinstance(method, Greedy)
    method.train()
    method.begin_epoch(0, TRAINER)
    return method, batch


def loop(
    folder: str, third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any
) -> Loop:
    return loop_of(folder, params(third, training, **settings), "greedy")


def mean(maps: Any, batch: int) -> Tensor:
    """[B, C] of block outputs: over space and frames, of sequences over their real steps."""
    if isinstance(maps, Padded):
        steps = [x[mask] for x, mask in zip(maps.values, maps.mask, strict=True)]
        return torch.stack([x.mean(0) if len(x) else torch.zeros(maps.values.shape[2]) for x in steps])
    if maps.dim() == 2:
        return maps
    found: Tensor = maps.reshape(batch, -1, *maps.shape[1:]).transpose(1, 2).flatten(2).mean(2)
    return found


def reference(
    method: Greedy, inputs: Any, held: dict[tuple[int, str], Tensor] | None = None
) -> tuple[dict[str, Tensor], dict[tuple[int, str], Tensor]]:
    """Each branch's logits, and the gates that its maps were multiplied by, by hand."""
    model, size = method.model, len(next(iter(inputs.values())))
    maps = {name: encoder.prepare(inputs[name]) for name, encoder in model.encoders.items()}
    lengths = {name: len(encoder.blocks) for name, encoder in model.encoders.items()}
    common = min(lengths.values())
    gates = {}
    for depth in range(common):
        for name, encoder in model.encoders.items():
            ends = [int(np.ceil((d + 1) * lengths[name] / common)) for d in range(-1, common)]
            for block in encoder.blocks[ends[depth] : ends[depth + 1]]:
                maps[name] = block(maps[name])
        if depth < common - method.settings.units:
            continue
        unit = method.gates.units[str(depth)]
        s = torch.cat([mean(x, size) for x in maps.values()], 1)
        hidden = (s @ unit.squeeze.weight.T + unit.squeeze.bias).clamp_min(0)
        for name, x in maps.items():
            layer = unit.excite[name]
            g = 1 / (1 + torch.exp(-(hidden @ layer.weight.T + layer.bias)))
            g = (held or {}).get((depth, name), g)
            gates[depth, name] = g
            if isinstance(x, Padded):
                maps[name] = Padded(x.values * g.expand(size, -1)[:, None], x.mask)
            else:
                frames = x.unflatten(0, (size, -1))
                maps[name] = (frames * g.expand(size, -1).reshape(size, 1, -1, *[1] * (x.dim() - 2))).flatten(0, 1)
    heads = method.heads.linears
    return {name: mean(x, size) @ heads[name].weight.T + heads[name].bias for name, x in maps.items()}, gates


@pytest.mark.parametrize(
    ("third", "units", "places"),
    [(False, 3, [1, 2, 3]), (True, 9, [0, 1, 2, 3]), (SEQUENCES, 1, [1]), (SEQUENCES, 3, [0, 1])],
)
def test_a_step_by_hand(tiny: Path, third: bool | tuple[str, ...], units: int, places: list[int]) -> None:
    tiny_dataset.write(tiny, third=third)
    method, batch = made(third, units=units)
    names = method.model.modalities
    assert list(method.gates.widths) == [(depth, name) for depth in places for name in names]
    other = copy.deepcopy(method)
    torch.manual_seed(3)  # dropout of the transformer
    each, gates = reference(other, batch.inputs)
    loss = torch.stack([functional.cross_entropy(u, batch.labels) for u in each.values()]).sum()
    loss.backward()
    torch.manual_seed(3)
    step = method(batch)
    step.loss.backward()
    torch.testing.assert_close(step.loss, loss)
    torch.testing.assert_close(step.logits, torch.stack(list(each.values())).mean(0), rtol=1e-4, atol=1e-5)
    for place, gate in gates.items():
        torch.testing.assert_close(method.gates.latest[place], gate.detach(), rtol=1e-4, atol=1e-5)
        assert gate.shape == (16, method.gates.widths[place])
    for name, p in other.named_parameters():
        found = dict(method.named_parameters())[name].grad
        assert p.grad is not None and found is not None, name
        torch.testing.assert_close(found, p.grad, rtol=2e-3, atol=1e-4 * float(p.grad.abs().max()) + 1e-7)
    unit = method.gates.units[str(places[-1])]
    total = sum(width for (depth, _), width in method.gates.widths.items() if depth == places[-1])
    assert unit.squeeze.weight.shape == (total // 2, total)
    assert {f"{name}/loss" for name in names} == set(step.logs)


def test_masks_stay_and_frames_of_a_sample_share_a_gate() -> None:
    gate = torch.rand(3, 5)
    padded = Padded(torch.rand(3, 4, 5), torch.rand(3, 4) > 0.5)
    found = gated(padded, gate, 2)
    assert torch.equal(found.mask, padded.mask) and torch.equal(found.values, padded.values * gate[:, None])
    frames = torch.rand(6, 5, 2, 2).to(torch.bfloat16)
    found = gated(frames, gate, 1)
    assert found.dtype == torch.bfloat16
    assert all(torch.equal(found[i], frames[i] * gate[i // 2].bfloat16()[:, None, None]) for i in range(6))


@pytest.mark.parametrize(("third", "caring"), [(False, 0), (True, 2), (SEQUENCES, 1)])
def test_a_held_branch_sees_no_other(tiny: Path, third: bool | tuple[str, ...], caring: int) -> None:
    """Identity 12 of methods.md 26: the gate is constant over the batch, and what makes it has no gradient."""
    tiny_dataset.write(tiny, third=third)
    method, batch = made(third)
    names = method.model.modalities
    method.means.uniform_(0.2, 0.8)
    method.caring.fill_(caring)
    method.left.fill_(1)
    other = copy.deepcopy(method)
    constant = dict(zip(method.gates.widths, method.means.split(list(method.gates.widths.values())), strict=True))
    own = names[caring]
    torch.manual_seed(3)
    each, gates = reference(other, batch.inputs, {place: g for place, g in constant.items() if place[1] == own})
    assert all((gate.dim() == 1) == (name == own) for (_, name), gate in gates.items())
    sum(functional.cross_entropy(u, batch.labels) for u in each.values()).backward()  # type: ignore[union-attr]
    torch.manual_seed(3)
    step = method(batch)
    step.loss.backward()
    torch.testing.assert_close(step.logits, torch.stack(list(each.values())).mean(0), rtol=1e-4, atol=1e-5)
    theirs = dict(other.named_parameters())
    for name, p in method.named_parameters():
        expected = theirs[name].grad
        assert p.grad is not None
        if f"excite.{own}" in name:
            assert expected is None and not p.grad.any()
        else:
            assert expected is not None and expected.any(), name
            torch.testing.assert_close(p.grad, expected, rtol=2e-3, atol=1e-4 * float(expected.abs().max()) + 1e-7)
    method.eval()
    held = method.model.predict(batch.inputs).logits
    method.left.fill_(0)
    method(batch)
    assert torch.equal(method.model.predict(batch.inputs).logits, held), "predictions hold no gate"


@pytest.mark.parametrize("third", [False, True])
def test_learning_speeds_by_numpy(tiny: Path, third: bool) -> None:
    tiny_dataset.write(tiny, third=third)
    method, batch = made(third)
    method(batch).loss.backward()
    found = learning_speeds(method._own, method._excites, method.gates.squeezes())
    sums: dict[str, list[float]] = {}
    for name, p in method.named_parameters():
        assert p.grad is not None
        pair = [float((x.double().numpy() ** 2).sum()) for x in (p.grad, p.detach())]
        for m in method.model.modalities:
            gate = "exchange" in name and ("squeeze" in name or f"excite.{m}." in name)
            own = name.startswith((f"model.encoders.{m}.", f"model.fusion.linears.{m}."))
            for kind, counts in (("gate", gate), ("own", own)):
                total = sums.setdefault(f"{kind} {m}", [0.0, 0.0])
                total[0] += pair[0] * counts
                total[1] += pair[1] * counts
    for row, kind in enumerate(("gate", "own")):
        expected = [gradient / weight for gradient, weight in (sums[f"{kind} {m}"] for m in method.model.modalities)]
        assert found[row].tolist() == pytest.approx(expected, rel=1e-5)
    method.after_backward(TRAINER)
    method.after_backward(TRAINER)
    torch.testing.assert_close(method.speeds, 2 * found)
    logged = method.end_epoch(0, TRAINER)
    for place, m in enumerate(method.model.modalities):
        assert logged[f"{m}/speed"] == pytest.approx(
            float(np.log10(found[0, place].item() / found[1, place].item())), rel=1e-6
        )


def scripted(method: Greedy, monkeypatch: pytest.MonkeyPatch, draw: Any) -> tuple[Any, dict[tuple[int, str], Any]]:
    """Give the method speeds [2, M] and mean gates of its own making for one step."""
    speeds = 10 ** draw.uniform(-1, 1, method.speeds.shape)
    gates = {place: draw.uniform(0, 1, (4, width)) for place, width in method.gates.widths.items()}
    monkeypatch.setattr("equimodal.methods.greedy.method.learning_speeds", lambda *_: torch.from_numpy(speeds))
    method.gates.latest = {place: torch.from_numpy(gate) for place, gate in gates.items()}
    return speeds, gates


@pytest.mark.parametrize(("third", "variant"), [(False, "paper"), (False, "released"), (True, "paper")])
def test_steps_are_balanced_by_the_speeds(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, third: bool, variant: str
) -> None:
    """Forty steps of ten an epoch, against a loop in Python."""
    tiny_dataset.write(tiny, third=third)
    method, _ = made(third, epsilon=0.2, held_steps=3, first_epoch=1, variant=variant)
    names = method.model.modalities
    draw = np.random.default_rng(1)
    a, b = np.zeros(len(names)), np.zeros(len(names))
    caring, left, entered = 0, 0, 0
    seen: dict[Any, list[Any]] = {place: [] for place in method.gates.widths}
    for step in range(40):
        method.begin_epoch(step // 10, TRAINER)
        speeds, gates = scripted(method, monkeypatch, draw)
        method.after_backward(TRAINER)
        for (depth, name), values in seen.items():
            if variant == "released":
                values.append(gates[depth, names[0]].mean(0))
            elif left == 0:
                values.append(gates[depth, name].mean(0))
        if left > 0:
            left -= 1
        else:
            b, a = b + speeds[0], a + speeds[1]
            d = np.log10(b / a)
            if step >= 10 and d.max() - d.min() > 0.2:
                caring, left = int(d.argmax()), 3
                entered += 1
        np.testing.assert_allclose(method.speeds.numpy(), [b, a])
        assert int(method.left) == left and (left == 0 or int(method.caring) == caring), step
        means = np.concatenate([np.mean(values, 0) for values in seen.values()])
        np.testing.assert_allclose(method.means.numpy(), means, rtol=1e-4)
    assert 1 < entered < 8, entered
    torch.testing.assert_close(speed_ratios(method.speeds), torch.from_numpy(np.log10(b / a)))


def test_equal_speeds_hold_nothing_and_an_overflow_is_left_out(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method, _ = made(epsilon=0.0, first_epoch=0)
    scripted(method, monkeypatch, np.random.default_rng(0))
    for speeds in (torch.ones(2, 2), torch.tensor([[np.inf, 1.0], [1.0, 1.0]]), torch.full((2, 2), np.nan)):
        monkeypatch.setattr("equimodal.methods.greedy.method.learning_speeds", lambda *_, now=speeds: now.double())
        method.after_backward(TRAINER)
        assert int(method.left) == 0 and torch.equal(method.speeds, torch.ones(2, 2, dtype=torch.float64))


def test_mean_gates_are_those_of_all_processes(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = made()
    monkeypatch.setattr("equimodal.methods.greedy.method.average", lambda value: (value + 1,))
    method(batch).loss.backward()
    method.after_backward(TRAINER)
    first = method.gates.latest[1, "audio"].mean(0) + 1
    torch.testing.assert_close(method.means[: len(first)], first)


def test_random_balancing_holds_each_or_none_alike(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method, _ = made(balancing="random", first_epoch=1)
    scripted(method, monkeypatch, np.random.default_rng(0))
    method.after_backward(TRAINER)
    assert int(method.left) == 0, "not before"
    state = torch.get_rng_state()
    found: list[list[int]] = []
    for epoch in (1, 1, 2):
        method.begin_epoch(epoch, TRAINER)
        found.append([])
        for _ in range(300):
            method.after_backward(TRAINER)
            found[-1].append(int(method.caring) if int(method.left) else -1)
    assert found[0] == found[1] != found[2] and torch.equal(torch.get_rng_state(), state)
    shares = np.array([found[0].count(kind) for kind in (-1, 0, 1)]) / 300
    np.testing.assert_allclose(shares, 1 / 3, atol=0.09)


def test_never_to_balance_is_guided_with_a_large_epsilon(tiny: Path) -> None:
    held = {}
    for folder, settings in (("none", {"balancing": "none"}), ("far", {"epsilon": 1e9}), ("near", {"epsilon": 0})):
        run = loop(folder, training={"epochs": 2, "batch_size": 30}, first_epoch=1, **settings)
        run.run()
        held[folder] = [
            sum(entry["metrics"][f"{name}/held"] for name in ("audio", "visual")) for entry in run.progress.history
        ]
    assert held == {"none": [0, 0], "far": [0, 0], "near": [0, 0.5]}
    none, far, near = (read_tensors(Path(folder, "state.safetensors"))[0] for folder in held)
    assert all(torch.equal(value, far[name]) for name, value in none.items())
    assert any(not torch.equal(value, near[name]) for name, value in none.items() if name.startswith("module/model"))


@pytest.mark.parametrize("third", [pytest.param(False, marks=pytest.mark.slow), SEQUENCES])
def test_a_broken_run_goes_on_bit_for_bit(tiny: Path, third: bool | tuple[str, ...]) -> None:
    """Killed within a window of re-balancing steps."""
    tiny_dataset.write(tiny, third=third)
    settings: dict[str, Any] = {"first_epoch": 0, "epsilon": 0, "held_steps": 3}
    training = {"batch_size": 30}
    loop("unbroken", third, training, **settings).run()
    first = loop("broken", third, training, **settings)
    first.run(until=1)
    assert int(first.method.left) > 0  # type: ignore[arg-type]
    torch.rand(7)
    second = loop("broken", third, training, **settings)
    assert second.resume()
    second.run()
    for path in Path("unbroken").iterdir():
        assert path.read_bytes() == Path("broken", path.name).read_bytes(), path.name
    held = [
        sum(entry["metrics"][f"{name}/held"] for name in tiny_dataset.names(third)) for entry in second.progress.history
    ]
    assert held == [0.5, 1, 0.5]


def test_encoders_start_as_those_of_joint_and_predictions_are_the_branches_mean(tiny: Path) -> None:
    own = params(training={"epochs": 1})
    method, _ = made()
    joint = Setup.open(own, "tiny", "joint", 0).model().state_dict()
    state = method.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in joint.items() if name.startswith("encoders"))
    train.run(own, "tiny", "greedy", 0)
    tensors, meta = read_tensors(model_folder("tiny", "greedy", 0) / "last.safetensors")
    setup = Setup.open(own, "tiny", "greedy", 0)
    model = setup.model(meta["structure"])
    model.load_state_dict(tensors)
    assert {name.split(".")[0] for name in tensors} == {"encoders", "exchange", "fusion"}
    found = predict(model, setup.data, "test", 32)
    torch.testing.assert_close(found.logits, sum(found.readouts.values()) / 2)
    metrics = read_json(model_folder("tiny", "greedy", 0) / "curves.json")["epochs"][0]["metrics"]
    assert metrics["train/loss"] == pytest.approx(metrics["audio/loss"] + metrics["visual/loss"], rel=1e-5)


def test_a_regression_is_balanced_too(tiny: Path) -> None:
    own = tiny_dataset.write_regression(tiny, methods={"greedy": {"first_epoch": 0}})
    run = loop_of("run", own, "greedy")
    run.run(until=1)
    found = predict(run.method.model, run.data, "test", 32)
    torch.testing.assert_close(found.logits, sum(found.readouts.values()) / 2)
    assert run.progress.history[0]["metrics"]["train/mae"] > 0


def test_what_it_refuses(tiny: Path) -> None:
    tiny_dataset.write(tiny, third=SEQUENCES)
    with pytest.raises(UserError, match="'text' has 8 channels where 'audio' has"):
        made(SEQUENCES, variant="released")
    for bad in ({"epsilon": -1}, {"held_steps": 0}, {"units": 0}, {"ratio": 0}, {"balancing": "off"}):
        with pytest.raises(UserError, match=f"methods.greedy.{next(iter(bad))}"):
            params(**bad)
