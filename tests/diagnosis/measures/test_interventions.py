"""Ablation, Shapley values, EMAP, readouts and curves against their definitions, computed otherwise."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import diagnosis_toys as toys
from equimodal.diagnosis.diagnose import diagnose
from equimodal.diagnosis.measures.additive import DONORS, projection
from equimodal.diagnosis.measures.shapley import interaction_weights
from equimodal.methods.shapley import subsets


class Given(nn.Module):
    """A function of inputs as a model."""

    def __init__(self, function: Callable[[Mapping[str, Tensor]], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return self.function(inputs)


def signs(samples: int, seed: int = 0) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    return {name: torch.randint(2, (samples, 1), generator=drawn) * 2.0 - 1 for name in ("a", "b")}


def values(report: Any, measure: str, quantity: str) -> dict[str, float]:
    return {e.of: e.estimate.value for e in report.measure(measure).entries if e.quantity == quantity}


def test_a_model_of_one_modality_owes_it_everything() -> None:
    inputs = signs(600)
    labels = (inputs["a"][:, 0] > 0).long()
    model = Given(lambda x: x["a"])  # one logit
    report = diagnose(
        model, toys.batches(inputs, labels), modalities=["a", "b"], measures=["permutation", "shapley", "zero", "mean"]
    )
    assert report.full.value == 1.0
    for measure, drop in (("permutation", 0.5), ("zero", float((labels == 1).double().mean()))):
        assert values(report, measure, "drop") == {"a": pytest.approx(drop, abs=0.06), "b": 0.0}
        assert values(report, measure, "moved")["b"] == 0.0
    assert values(report, "shapley", "share") == {"a": 1.0, "b": 0.0}
    assert values(report, "shapley", "interaction") == {"a x b": 0.0}
    low_high = report.measure("permutation").find("drop", "a")[0].estimate
    assert low_high.low is not None and low_high.high is not None
    assert low_high.low < low_high.value < low_high.high < low_high.low + 0.12


def test_an_exclusive_or_is_all_interaction_and_no_sum() -> None:
    inputs = signs(4000)
    labels = (inputs["a"] * inputs["b"] > 0)[:, 0].long()
    model = Given(lambda x: x["a"] * x["b"])
    report = diagnose(model, toys.batches(inputs, labels), modalities=["a", "b"], measures=["shapley", "emap"])
    assert values(report, "shapley", "interaction")["a x b"] == pytest.approx(0.5, abs=0.08)
    assert values(report, "shapley", "share")["a"] == pytest.approx(0.5, abs=0.06)
    assert values(report, "shapley", "gain")["all"] == pytest.approx(sum(values(report, "shapley", "value").values()))
    assert values(report, "emap", "drop")["all"] > 0.3


@pytest.mark.parametrize("count", [2, 3, 4])
def test_interactions_are_means_over_orders(count: int) -> None:
    """I_ij is the mean, over orders of the modalities with i and j as one, of what both add beyond each."""
    parts = [(), *subsets(count)]
    v = {
        frozenset(part): value
        for part, value in zip(parts, np.random.default_rng(0).normal(size=2**count), strict=True)
    }
    found = interaction_weights(count) @ torch.tensor([v[frozenset(part)] for part in parts])
    for (i, j), value in zip(itertools.combinations(range(count), 2), found.tolist(), strict=True):
        rest = [m for m in range(count) if m not in (i, j)]
        gains = []
        for order in itertools.permutations([*rest, "both"]):
            before = frozenset(m for m in order[: order.index("both")] if m != "both")
            gains.append(v[before | {i, j}] - v[before | {i}] - v[before | {j}] + v[before])
        assert value == pytest.approx(sum(gains) / math.factorial(count - 1))


@pytest.mark.parametrize("count", [2, 3])
def test_the_projection_with_all_donors_is_the_papers(count: int) -> None:
    n = 5
    table = torch.randn([n] * count + [2], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # kept[m, j, i]: modality m of sample i, the others of sample j
    kept = torch.stack(
        [
            torch.stack(
                [
                    torch.stack([table[tuple(i if o == m else j for o in range(count))] for i in range(n)])
                    for j in range(n)
                ]
            )
            for m in range(count)
        ]
    )
    found = projection(kept, torch.arange(n))
    if count == 2:  # Eq. 3 of the paper: f_t + f_v - mean
        expected = table.mean(1) + table.mean(0) - table.mean((0, 1))
        assert torch.allclose(found, expected)
    own = [torch.randn(n, 2, generator=torch.Generator().manual_seed(m), dtype=torch.float64) for m in range(count)]
    for donors in (torch.tensor([3]), torch.tensor([0, 4])):
        rest = [sum(own[o] for o in range(count) if o != m) for m in range(count)]
        sums = torch.stack([torch.stack([own[m] + rest[m][j] for j in donors]) for m in range(count)])  # type: ignore[index]
        assert torch.allclose(projection(sums, donors), sum(own)), "a sum stays itself for any donors"  # type: ignore[arg-type]


def test_emap_of_a_sum_is_the_model() -> None:
    model, batches = toys.trained({"audio": 1.0, "visual": 1.0}, samples=90)
    report = diagnose(model, batches, modalities=["audio", "visual"], measures="emap")
    assert values(report, "emap", "drop") == {"all": 0.0}
    assert values(report, "emap", "score") == {"all": report.full.value}
    assert report.passes == 1 + 2 * DONORS


def test_readouts_are_the_model_with_the_other_features_at_zero() -> None:
    model, batches = toys.trained({"audio": 2.0, "visual": 1.0}, samples=200)
    report = diagnose(
        model,
        batches,
        modalities=["audio", "visual"],
        measures="readout",
        encoders={"audio": "encoders.audio", "visual": "encoders.visual"},
    )
    inputs = {name: torch.cat([batch[name] for batch, _ in batches]) for name in ("audio", "visual")}
    labels = torch.cat([y for _, y in batches])
    with torch.no_grad():
        for place, (name, x) in enumerate(inputs.items()):
            features = model.encoders[name](x)
            logits = features @ model.head.weight[:, 16 * place : 16 * place + 16].T + model.head.bias
            expected = float((logits.argmax(1) == labels).double().mean())
            assert values(report, "readout", "score")[name] == pytest.approx(expected)


def test_missing_modalities_cost_what_drawing_them_would() -> None:
    model, batches = toys.trained({"audio": 1.5, "visual": 1.5}, samples=300)
    report = diagnose(model, batches, modalities=["audio", "visual"], measures="missing")
    entries = {(e.of, e.at): e.estimate.value for e in report.measure("missing").entries}
    inputs = {name: torch.cat([batch[name] for batch, _ in batches]) for name in ("audio", "visual")}
    labels = torch.cat([y for _, y in batches])
    drawn = torch.Generator().manual_seed(0)
    model.eval()
    for names in (["audio"], ["visual"], ["audio", "visual"]):
        scores = []
        for _ in range(60):
            gone = {name: torch.rand(300, 1, generator=drawn) < 0.25 for name in names}
            shown = {name: x.masked_fill(gone[name], 0) if name in gone else x for name, x in inputs.items()}
            with torch.no_grad():
                scores.append(float((model(shown).argmax(1) == labels).double().mean()))
        of = names[0] if len(names) == 1 else "all"
        assert entries[of, 0.25] == pytest.approx(float(np.mean(scores)), abs=0.01)
        assert entries[of, 0.0] == pytest.approx(report.full.value)


def test_noise_takes_a_modality_away_by_and_by() -> None:
    model, batches = toys.trained({"audio": 3.0, "visual": 0.3}, samples=300)
    report = diagnose(model, batches, modalities=["audio", "visual"], measures="noise")
    curves = {
        name: [e.estimate.value for e in report.measure("noise").find("score", name)] for name in ("audio", "visual")
    }
    assert [e.at for e in report.measure("noise").find("score", "audio")] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert curves["audio"][0] == curves["visual"][0] == report.full.value
    assert curves["audio"][2] < curves["audio"][0] - 0.1
    assert curves["visual"][2] > curves["audio"][2] + 0.1
    assert curves["audio"][4] < 0.65


def test_what_has_no_mean_is_left_out_with_a_note() -> None:
    ids = torch.randint(5, (60, 3), generator=torch.Generator().manual_seed(0))
    inputs = {"a": ids, "b": torch.randn(60, 2, generator=torch.Generator().manual_seed(1))}
    model = Given(lambda x: torch.cat([x["a"].float().sum(1, keepdim=True), x["b"]], 1))
    report = diagnose(
        model, toys.batches(inputs, torch.arange(60) % 3), modalities=["a", "b"], measures=["mean", "noise", "zero"]
    )
    assert [measured.name for measured in report.measures] == ["zero"]
    assert [note.partition(": ")[0] for note in report.notes] == ["mean", "noise"]
