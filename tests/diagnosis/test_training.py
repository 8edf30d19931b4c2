"""The monitor of a plain loop, against NumPy, and that it changes nothing."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import diagnosis_toys as toys
import equimodal
from equimodal.diagnosis.training import TrainingMonitor
from equimodal.errors import UserError

ENCODERS = {"audio": "encoders.audio", "visual": "encoders.visual"}
INPUTS, LABELS = toys.vectors({"audio": 3.0, "visual": 0.5}, 60, seed=1)


def model() -> toys.MLPs:
    torch.manual_seed(0)
    return toys.MLPs(dict.fromkeys(ENCODERS, 6), 3)


def loop(net: toys.MLPs, monitor: TrainingMonitor | None, epochs: int = 2, steps: int = 3) -> list[dict[str, float]]:
    """Plain gradient descent; what NumPy says of each epoch."""
    expected = []
    for _ in range(epochs):
        numbers: dict[str, list[float]] = {}
        start = {name: flat(net.encoders[name]) for name in ENCODERS}
        for _ in range(steps):
            net.zero_grad()
            cross_entropy(net(INPUTS), LABELS).backward()
            if monitor is not None:
                monitor.after_backward()
            for name in ENCODERS:
                gradient = flat(net.encoders[name], grad=True)
                weights = flat(net.encoders[name])
                numbers.setdefault(f"gradient/{name}", []).append(float(np.sqrt((gradient**2).sum())))
                numbers.setdefault(f"speed/{name}", []).append(float((gradient**2).sum() / (weights**2).sum()))
            with torch.no_grad():
                for weight in net.parameters():
                    weight -= 0.3 * weight.grad  # type: ignore[operator]
        found = {key: float(np.mean(values)) for key, values in numbers.items()}
        for name in ENCODERS:
            moved = flat(net.encoders[name]) - start[name]
            found[f"moved/{name}"] = float(np.linalg.norm(moved) / np.linalg.norm(start[name]))
        expected.append(found)
        if monitor is not None:
            assert monitor.end_epoch() == pytest.approx(found, rel=1e-5)
    return expected


def flat(part: nn.Module, grad: bool = False) -> np.ndarray:
    tensors = [p.grad if grad else p.detach() for p in part.parameters()]
    return np.concatenate([t.numpy().ravel() for t in tensors if t is not None]).astype(np.float64)


def test_numbers_are_numpys_and_the_loop_ends_where_it_would() -> None:
    watched, plain = model(), model()
    monitor = TrainingMonitor(watched, ENCODERS)
    expected = loop(watched, monitor)
    loop(plain, None)
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), plain.parameters(), strict=True))
    report = equimodal.diagnose(
        watched, toys.batches(INPUTS, LABELS), modalities=list(ENCODERS), measures="zero", training=monitor
    )
    measured = report.measure("training")
    for name in ENCODERS:
        for quantity in ("gradient", "speed", "moved"):
            entries = measured.find(quantity, name)
            assert [e.at for e in entries] == [1.0, 2.0]
            assert [e.estimate.value for e in entries] == pytest.approx(
                [numbers[f"{quantity}/{name}"] for numbers in expected], rel=1e-5
            )
    assert measured.find("speed", "audio")[0].estimate.value > measured.find("speed", "visual")[0].estimate.value
    assert equimodal.Diagnosis.from_json(report.to_json()) == report
    assert "epoch 2" in str(report)


def test_a_run_that_diverged_can_still_be_reported() -> None:
    net = model()
    monitor = TrainingMonitor(net, ENCODERS)
    for weight in net.parameters():
        weight.grad = torch.full_like(weight, torch.inf)
    monitor.after_backward()
    assert monitor.end_epoch()["gradient/audio"] == float("inf")
    assert {entry.quantity for entry in monitor.measured().entries} == {"moved"}


def own_losses(net: toys.MLPs) -> dict[str, Tensor]:
    zero = {name: torch.zeros_like(x) for name, x in INPUTS.items()}
    return {name: cross_entropy(net({**zero, name: INPUTS[name]}), LABELS) for name in ENCODERS}


def test_cosines_are_those_of_the_shared_weights_gradients() -> None:
    net = model()
    monitor = TrainingMonitor(net, ENCODERS)
    net.zero_grad()
    losses = own_losses(net)
    monitor.unimodal(losses)
    assert all(weight.grad is None for weight in net.parameters())
    flats = []
    for loss in losses.values():
        net.zero_grad()
        loss.backward(retain_graph=True)
        flats.append(flat(net.head, grad=True))
    monitor.after_backward()
    expected = flats[0] @ flats[1] / np.linalg.norm(flats[0]) / np.linalg.norm(flats[1])
    assert monitor.end_epoch()["cosine/audio x visual"] == pytest.approx(expected, rel=1e-5)
    assert [e.of for e in monitor.measured().entries][-1] == "audio x visual"


def test_what_cannot_be_watched_is_refused() -> None:
    net = model()
    for encoders, shared, words in [
        ({"audio": "encoders.sound"}, None, "no submodule 'encoders.sound'"),
        ({"audio": "encoders.audio", "visual": "encoders"}, None, "two encoders share weights"),
        (ENCODERS, ["encoders.audio"], "no weights are shared"),
        ({"audio": "encoders.audio"}, ["encoders.visual"], "loss of audio reaches no shared weight"),
    ]:
        with pytest.raises(UserError, match=words):
            TrainingMonitor(net, encoders, shared).unimodal({"audio": net.encoders["audio"](INPUTS["audio"]).sum()})
    net.encoders["audio"].requires_grad_(False)
    with pytest.raises(UserError, match="encoder of audio has no weights that are trained"):
        TrainingMonitor(net, ENCODERS)
