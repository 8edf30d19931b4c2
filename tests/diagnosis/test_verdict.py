"""What is claimed of models whose balance is known, and what is not."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import diagnosis_toys as toys
from equimodal.diagnosis.advice import ADVICE
from equimodal.diagnosis.bootstrap import bounds
from equimodal.diagnosis.diagnose import diagnose
from equimodal.diagnosis.measures.shapley import shares
from equimodal.diagnosis.verdict import tail
from equimodal.methods.registry import METHODS
from equimodal.report.names import METHODS as VARIANTS

NAMES = ("audio", "visual")
Claims = list[tuple[str, str | None]]


def claims(report: Any) -> Claims:
    return [(finding.kind, finding.modality) for finding in report.findings]


def judged(strengths: Mapping[str, float], seed: int = 0, samples: int = 400, **options: Any) -> Any:
    model, batches = toys.trained(strengths, seed, samples)
    return diagnose(model, batches, modalities=list(strengths), **options)


@pytest.mark.parametrize(
    "strengths", [{"audio": 3.0, "visual": 0.6}, {"audio": 0.6, "visual": 3.0}, {"a": 3.0, "b": 0.5, "c": 0.5}]
)
def test_a_known_imbalance_is_found(strengths: dict[str, float]) -> None:
    report = judged(strengths)
    strong = max(strengths, key=lambda name: strengths[name])
    assert ("dominant", strong) in claims(report)
    weak = {name for kind, name in claims(report) if kind in ("dominated", "unused")}
    assert weak == set(strengths) - {strong}
    assert f"{strong} dominates" in report.verdict
    share = next(e for e in report.measure("shapley").entries if (e.quantity, e.of) == ("share", strong)).estimate.value
    text = next(finding.text for finding in report.findings if finding.kind == "dominant")
    assert f"share {share:.3f} (" in text, "the number behind the word"
    assert [advice.method for advice in report.advice] == ["unimodal", "joint-uni", "deep-uni", "aim-fast"]


def test_without_shapley_values_perceptual_scores_are_shared() -> None:
    report = judged({"audio": 3.0, "visual": 0.6}, measures="permutation")
    assert claims(report) == [("dominant", "audio"), ("dominated", "visual")]
    assert "shares of the perceptual scores" in report.verdict
    assert judged({"audio": 3.0, "visual": 0.6}, measures="zero").verdict.startswith("No verdict")


@pytest.mark.parametrize("how", ["weights", "relu"])
def test_a_dead_modality_is_found(how: str) -> None:
    model, batches = toys.trained({"audio": 3.0, "visual": 3.0})
    with torch.no_grad():
        if how == "weights":
            model.head.weight[:, 16:] = 0
        else:
            model.encoders["visual"][0].bias.fill_(-100.0)  # type: ignore[index, union-attr]
    report = diagnose(model, batches, modalities=NAMES)
    assert claims(report) == [("dead", "visual"), ("dominant", "audio")]
    assert "none of 400 outputs changes" in report.findings[0].text
    assert "visual is dead" in report.verdict
    assert report.advice[0].method == "unimodal"


def test_an_input_that_never_changes_is_told_from_a_dead_encoder() -> None:
    model, batches = toys.trained({"audio": 3.0, "visual": 3.0})
    fed = [({**inputs, "visual": torch.ones_like(inputs["visual"])}, labels) for inputs, labels in batches]
    assert claims(diagnose(model, fed, modalities=NAMES))[0] == ("constant", "visual")


def test_samples_that_cannot_be_swapped_are_not_called_dead() -> None:
    """Sequences in batches of one, each of its own length."""
    drawn = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (60,), generator=drawn)
    rows = [
        ({name: torch.randn(1, 3 + i, generator=drawn) + 4 * label for name in NAMES}, label[None])
        for i, label in enumerate(labels)
    ]
    model = nn.Linear(1, 1)
    report = diagnose(
        model,
        rows,
        modalities=NAMES,
        call=lambda model, inputs: inputs["audio"].mean(1) + inputs["visual"].mean(1) - 4,
    )
    assert report.findings == []
    assert report.verdict.startswith("No verdict")
    refused = {note.partition(":")[0] for note in report.notes if "cannot be swapped" in note}
    assert {"permutation", "shapley"} <= refused


class Misled(nn.Module):
    """Right by audio, and wrong by visual where that is large."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return 2 * inputs["audio"] - 3 * inputs["visual"]


def test_a_modality_that_does_harm_is_found() -> None:
    drawn = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (400,), generator=drawn)
    signs = (labels * 2.0 - 1)[:, None]
    # with its own visual input the model is right where it is small; with others', half of the time where it is large
    size = (torch.rand(400, 1, generator=drawn) < 0.35).float()
    report = diagnose(Misled(), toys.batches({"audio": signs, "visual": signs * size}, labels), modalities=NAMES)
    assert ("harmful", "visual") in claims(report)
    assert "g-blending" in [advice.method for advice in report.advice]


def test_what_an_encoder_knows_and_the_head_does_not_use_is_found() -> None:
    model, batches = toys.trained({"audio": 3.0, "visual": 3.0})
    with torch.no_grad():
        model.head.weight[:, 16:] = torch.randn(3, 16, generator=torch.Generator().manual_seed(0)) / 100
    names = {name: f"encoders.{name}" for name in NAMES}
    report = diagnose(
        model, batches, modalities=NAMES, encoders=names, layers={name: [own] for name, own in names.items()}
    )
    found = [kind for kind, name in claims(report) if name == "visual"]
    assert found[0] in ("unused", "dominated")
    assert found[1:] == ["hidden"]
    readout = report.measure("readout").find("score", "visual")[0].estimate.value
    probe = report.measure("probe").find("score", "visual")[0].estimate.value
    assert f"has accuracy {probe:.3f}" in report.findings[-1].text
    assert f"its readout {readout:.3f}" in report.findings[-1].text
    assert [advice.method for advice in report.advice] == ["joint-uni", "late", "opm", "deep-uni", "aim-fast"]


def test_nothing_is_claimed_of_few_samples_or_of_a_model_that_knows_nothing() -> None:
    model, batches = toys.trained({"audio": 3.0, "visual": 0.0}, samples=40)
    few = diagnose(model, batches, modalities=NAMES)
    assert few.verdict == "No verdict on shares: 40 samples are fewer than 50."
    assert claims(few) == []
    torch.manual_seed(0)
    blank = diagnose(
        toys.MLPs(dict.fromkeys(NAMES, 6), 3),
        toys.batches(*toys.vectors(dict.fromkeys(NAMES, 0.0), 200, seed=3)),
        modalities=NAMES,
    )
    assert "is not shown to be above" in blank.verdict
    assert claims(blank) == []


def test_advice_names_methods_of_this_project() -> None:
    assert {each.method for some in ADVICE.values() for each in some} <= {*METHODS, *VARIANTS}


def test_shares_without_a_gain_are_none() -> None:
    found = shares(torch.tensor([[0.3, 0.1, -0.1], [0.1, 0.1, -0.2]]))
    assert found[:, :2].T.tolist() == [pytest.approx([0.75, 0.25]), pytest.approx([0.5, 0.5])]
    assert bool(found[:, 2].isnan().all())


def test_claims_share_the_error_that_is_allowed() -> None:
    assert tail(0.95, 2) * 3 * 2 == pytest.approx(0.05)
    means = torch.cat([torch.zeros(1), torch.arange(1001.0)])
    assert bounds(means, 0.01) == (10.0, 990.0)


@pytest.mark.slow
@pytest.mark.parametrize(("strength", "samples"), [(1.2, 400), (2.5, 400), (1.5, 80)])
def test_balanced_models_are_not_accused(strength: float, samples: int) -> None:
    """50 models of other weights and other data: at most 5 % of them accused of anything."""
    assert len(accused(dict.fromkeys(NAMES, strength), range(50), samples)) <= 2


def test_nor_are_a_few_of_them() -> None:
    assert accused(dict.fromkeys(NAMES, 2.0), range(100, 106), 400) == []


def accused(strengths: Mapping[str, float], seeds: Sequence[int], samples: int) -> list[tuple[int, Claims]]:
    measures = ["permutation", "shapley"]
    found = [(seed, claims(judged(strengths, seed, samples, measures=measures))) for seed in seeds]
    return [(seed, each) for seed, each in found if each]
