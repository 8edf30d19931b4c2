"""D&R by its formulas: purity of clusters, the pull towards the start, and when."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.preprocessing import MinMaxScaler
from torch import nn

import aim_toys
import tiny_dataset
import training_process
from equimodal.errors import UserError
from equimodal.methods.base import Task
from equimodal.methods.dr import method as module
from equimodal.methods.dr.method import DR, clustered, purity, scaled
from equimodal.methods.dr.settings import DRSettings
from equimodal.objectives import Classification
from equimodal.params import Params
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.training.loop import Loop
from tiny_method import goes_on_bit_for_bit, learned, loop_of

CASES = [False, True, ("text", "face", "facts")]


def params(third: bool | tuple[str, ...] = False, training: dict[str, Any] | None = None, **settings: Any) -> Params:
    methods = {"dr": {"interval": 1, "restarts": 2, **settings}}
    return tiny_dataset.params(third, training={"epochs": 4, **(training or {})}, methods=methods)


def loop(folder: str, third: bool | tuple[str, ...] = False, **settings: Any) -> Loop:
    return loop_of(folder, params(third, **settings), "dr")


def test_purity_is_the_share_of_the_most_frequent_label() -> None:
    draw = np.random.default_rng(0)
    for count in (2, 3, 5):
        labels, clusters = draw.integers(0, count, 40), draw.integers(0, count, 40)
        most = sum(max(Counter(labels[clusters == c]).values()) for c in set(clusters.tolist()))
        assert purity(clusters, labels) == most / 40 >= 1 / count
        assert purity((labels + 1) % count, labels) == 1
        assert purity(np.zeros(40, np.int64), labels) == max(Counter(labels.tolist()).values()) / 40


def test_features_are_stretched_to_one_range() -> None:
    x = np.random.default_rng(1).normal(size=(30, 6)) * np.array([1, 1e-6, 50, 3, 1, 1])
    x[:, 4] = 7.0
    expected = MinMaxScaler((-1, 1)).fit_transform(x)
    expected[:, 4] = 0  # where it says -1: one number for all samples says nothing either way
    np.testing.assert_allclose(scaled(x), expected, atol=1e-9)


def test_clusters_are_those_of_k_means() -> None:
    draw = np.random.default_rng(2)
    labels = draw.integers(0, 4, 80)
    x = scaled(draw.normal(size=(4, 5))[labels] * 6 + 0.1 * draw.normal(size=(80, 5)))
    assert purity(clustered(x, 4, 10, 0), labels) == 1
    noise = scaled(draw.normal(size=(120, 3)))
    found = clustered(noise, 5, 10, 0)

    def inertia(clusters: Any) -> float:
        return sum(
            float(np.square(noise[clusters == c] - noise[clusters == c].mean(0)).sum()) for c in set(clusters.tolist())
        )

    assert inertia(found) < 1.02 * KMeans(5, n_init=10, random_state=0).fit(noise).inertia_
    np.testing.assert_array_equal(found, clustered(noise, 5, 10, 0))
    singles = [inertia(clustered(noise, 5, 1, seed)) for seed in range(8)]
    many = [inertia(clustered(noise, 5, 10, seed)) for seed in range(8)]
    # The first of ten starts is the one of one.
    assert all(a <= b + 1e-6 for a, b in zip(many, singles, strict=True)) and np.mean(many) < np.mean(singles) - 0.1
    assert clustered(np.zeros((9, 2)), 3, 2, 0).tolist() == [0] * 9, "features that have collapsed"


def halves(x: Any, clusters: int, restarts: int, seed: int) -> Any:
    """In the place of k-means: two clusters, by the sign of the first dimension."""
    assert np.abs(x).max() <= 1 + 1e-9
    return (x[:, 0] > 0).astype(np.int64)


@pytest.mark.parametrize("third", CASES)
def test_encoders_are_pulled_by_the_gap_of_purity(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, third: bool | tuple[str, ...]
) -> None:
    monkeypatch.setattr(module, "clustered", halves)
    tiny_dataset.write(tiny, third=third)
    running = loop("pull", third, lam=1.7)
    start = {key: value.clone() for key, value in running.method.state_dict().items()}
    found: dict[str, Any] = {}

    def before(epoch: int, metrics: dict[str, float], trainer: Any) -> None:
        if epoch == 1:
            found["state"] = {key: value.clone() for key, value in running.method.state_dict().items()}
            found["momentum"] = [state["momentum_buffer"].clone() for state in running.plain_optimizer.state.values()]
            found["splits"] = {split: running.features(split) for split in ("train", "val")}  # type: ignore[arg-type]
        DR.after_evaluation(running.method, epoch, metrics, trainer)  # type: ignore[arg-type]

    running.method.after_evaluation = before  # type: ignore[method-assign]
    running.run(until=2)
    pulls = {}
    for name in tiny_dataset.names(third):
        shares = {}
        for split, seen in found["splits"].items():
            z = MinMaxScaler((-1, 1)).fit_transform(seen.features[name].double().numpy())[:, 0] > 0
            labels = seen.labels.numpy()
            shares[split] = sum(max(Counter(labels[z == side]).values(), default=0) for side in (0, 1)) / len(labels)
        pulls[name] = float(np.tanh(1.7 * abs(shares["train"] - shares["val"])))
        said = running.method._found  # type: ignore[attr-defined]
        assert said[f"{name}/purity/train"] == pytest.approx(shares["train"])
        assert said[f"{name}/purity/val"] == pytest.approx(shares["val"])
        assert said[f"{name}/pull"] == pytest.approx(pulls[name], abs=1e-9)
    assert max(pulls.values()) > 0
    trained = dict(running.method.named_parameters())
    for key, now in running.method.state_dict().items():
        old = found["state"][key]
        if key.startswith("model.encoders") and key in trained:
            w = pulls[key.split(".")[2]]
            expected = w * start[key].double().numpy() + (1 - w) * old.double().numpy()
            np.testing.assert_allclose(now.numpy(), expected, rtol=1e-5, atol=1e-7)
        else:
            assert torch.equal(now, old), f"{key} stays"
    now = [state["momentum_buffer"] for state in running.plain_optimizer.state.values()]
    assert all(torch.equal(one, other) for one, other in zip(now, found["momentum"], strict=True))


def test_a_whole_pull_is_the_start_and_none_is_nothing() -> None:
    torch.manual_seed(0)
    method = DR(aim_toys.build(), DRSettings(), Task(Classification(3), 9, 5, 0))
    method.prepare(SimpleNamespace())  # type: ignore[arg-type]
    begun = [parameter.detach().clone() for parameter in method.model.parameters()]
    for parameter in method.model.parameters():
        nn.init.normal_(parameter)
    moved = [parameter.detach().clone() for parameter in method.model.parameters()]
    method._pull("audio", 0.0)
    assert all(torch.equal(one, other) for one, other in zip(moved, method.model.parameters(), strict=True))
    method._pull("audio", 1.0)
    at_start = {
        name: torch.equal(parameter, old)
        for (name, parameter), old in zip(method.model.named_parameters(), begun, strict=True)
    }
    assert all(same == name.startswith("encoders.audio.") for name, same in at_start.items())


@pytest.mark.parametrize(
    ("epochs", "settings", "expected"),
    [
        (90, {}, [20, 40, 60]),
        (90, {"times": 5}, [20, 40, 60, 80]),
        (9, {}, [2, 4, 6]),
        (15, {}, [3, 6, 9]),
        (3, {}, [1]),
        (2, {}, []),
        (10, {"interval": 4}, [4, 8]),
        (10, {"times": 0}, []),
        (10, {"lam": 0.0}, []),
    ],
)
def test_diagnoses_are_at_multiples_of_the_interval(
    monkeypatch: pytest.MonkeyPatch, epochs: int, settings: dict[str, Any], expected: list[int]
) -> None:
    method = DR(aim_toys.build(), DRSettings(**settings), Task(Classification(3), epochs, 5, 0))
    found = []
    monkeypatch.setattr(method, "_purities", lambda seen, epoch, split: found.append((epoch, split)) or torch.zeros(2))
    run: Any = SimpleNamespace(features=lambda split: split, device="cpu")
    method.prepare(run)
    for epoch in range(epochs - 1):
        method.after_evaluation(epoch, {}, run)
    assert found == [(epoch, split) for epoch in expected for split in ("train", "val")]


@pytest.mark.parametrize("off", [{"lam": 0.0}, {"times": 0}])
def test_strength_zero_is_joint_bit_for_bit(tiny: Path, off: dict[str, Any]) -> None:
    own = params(training={"epochs": 3}, **off)
    for name in ("joint", "dr"):
        train.run(own, "tiny", name, 0)
    for file in ("val", "last", "test"):
        joint, other = (learned(Path(f"models/tiny/{name}/0/{file}.safetensors")) for name in ("joint", "dr"))
        assert joint == other


@pytest.mark.parametrize("third", [*(pytest.param(case, marks=pytest.mark.slow) for case in CASES[:2]), CASES[2]])
def test_a_broken_run_goes_on_bit_for_bit(tiny: Path, third: bool | tuple[str, ...]) -> None:
    tiny_dataset.write(tiny, third=third)
    part = goes_on_bit_for_bit(
        lambda folder: loop(folder, third), breaks=(2,), again=True
    )  # the first time right after a diagnosis
    names = tiny_dataset.names(third)
    history = [row["metrics"] for row in part.progress.history]
    logged = [f"{names[0]}/pull" in metrics for metrics in history]
    assert logged == [False, False, True, True], "of the epoch before"
    for metrics in history[2:]:
        for name in names:
            gap = abs(metrics[f"{name}/purity/train"] - metrics[f"{name}/purity/val"])
            assert metrics[f"{name}/pull"] == pytest.approx(np.tanh(3 * gap))


def test_few_rows_are_drawn_by_the_seed(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, list[float]]] = []
    monkeypatch.setattr(
        module, "clustered", lambda x, *rest: seen.append((len(x), x[:, 0].tolist())) or halves(x, *rest)
    )
    running = loop("rows", rows=20)
    method: Any = running.method
    found = running.features("train")
    for epoch in (1, 2, 1):
        method._purities(found, epoch, "train")
    assert {count for count, _ in seen} == {20}
    assert seen[0] == seen[4] != seen[2], "other samples in another epoch"
    labels = found.labels.numpy()
    monkeypatch.setattr(module, "clustered", lambda x, *rest: np.arange(len(x)))
    monkeypatch.setattr(module, "purity", lambda clusters, own: seen.append((len(own), own.tolist())) or 1.0)
    seen.clear()
    running.method.settings = DRSettings(rows=1000)
    method._purities(found, 1, "train")
    assert seen[0] == (60, labels.tolist()), "all of them, in order"


@pytest.mark.slow
def test_two_processes_pull_alike(tiny: Path) -> None:
    tiny_dataset.write_params(
        tiny,
        runtime={"devices": 2},
        training={"epochs": 3},
        methods={"dr": {"interval": 1, "restarts": 2}},
    )
    _, ((first, _), (second, _)) = training_process.probe(training_process.PROBE, "dr")
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    curves = Path("models/tiny/dr/0/curves.json").read_text(encoding="utf-8")
    assert '"audio/pull"' in curves


def test_what_it_refuses(tiny: Path) -> None:
    for bad in ({"lam": -1}, {"interval": 0}, {"times": -1}, {"restarts": 0}, {"rows": 1}):
        with pytest.raises(UserError, match=f"methods.dr.{next(iter(bad))}"):
            params(**bad)
    assert Setup.open(params(), "tiny", "dr", 0).method().interval == 1
