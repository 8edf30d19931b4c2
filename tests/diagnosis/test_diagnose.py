"""Whole diagnoses of models that are not ours."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import diagnosis_toys as toys
import equimodal
from equimodal.methods.aim.library import BlockList
from equimodal.models.encoder import Encoder
from equimodal.models.framework import MultimodalModel
from equimodal.models.fusion import Concat
from equimodal.models.padded import Padded


def kinds(report: Any) -> set[tuple[str, str | None]]:
    return {(finding.kind, finding.modality) for finding in report.findings}


def test_two_streams_of_pictures() -> None:
    """A video model as torchvision builds them, called with two tensors; the second stream's pictures say little."""
    drawn = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (500,), generator=drawn)
    brightness = (labels - 1.5)[:, None, None, None] * torch.tensor([1.0, 0.08]).view(2, 1, 1, 1, 1)
    audio, visual = torch.randn(2, 500, 1, 6, 6, generator=drawn) + brightness
    torch.manual_seed(0)
    model = toys.TwoStream()
    toys.train(model, audio[:250], visual[:250], labels=labels[:250], steps=60)
    report = equimodal.diagnose(
        model,
        toys.loader(audio[250:], visual[250:], labels[250:]),
        modalities=toys.NAMES,
        encoders={name: name for name in toys.NAMES},
        layers={name: [f"{name}.0", f"{name}.1", name] for name in toys.NAMES},
        decision="classifier",
    )
    assert report.full.value > 0.7
    assert ("dominant", "audio") in kinds(report)
    assert report.passes <= 12
    s = report.measure("class-mean")
    assert s.find("s", "audio")[-1].estimate.value > s.find("s", "visual")[-1].estimate.value
    assert report.measure("logit-share").find("share", "audio")[0].estimate.value > 0.6


def test_a_classifier_of_tokens_and_pictures_called_by_keywords() -> None:
    """As Hugging Face's are: a dict with the labels in it, a mask of tokens, logits as an attribute."""
    torch.manual_seed(0)
    model, training = toys.TextImage(), toys.text_image_batches(300, 1, picture=0.05, size=300)[0]
    inputs = [training[key] for key in ("input_ids", "attention_mask", "pixel_values")]
    toys.train(model, *inputs, labels=training["labels"], loss=lambda o, y: functional.cross_entropy(o.logits, y))
    report = equimodal.diagnose(
        model,
        toys.text_image_batches(300, 2, picture=0.05),
        modalities={"text": ("input_ids", "attention_mask"), "image": "pixel_values"},
        encoders={"text": "text_encoder", "image": "vision_encoder"},
    )
    assert report.full.value > 0.8
    assert {("dominant", "text")} < kinds(report)
    assert {name for kind, name in kinds(report) if kind in ("dominated", "unused")} == {"image"}
    assert report.passes <= 12
    assert any(note.startswith("mean: text: ids") for note in report.notes)


def test_labels_of_many() -> None:
    inputs, labels = toys.vectors({"a": 3.0, "b": 0.2}, 600, seed=1)
    many = torch.stack([labels == 0, labels < 2], 1).float()
    model = toys.MLPs({"a": 6, "b": 6}, 2)
    toys.train(model, inputs, labels=many, loss=functional.binary_cross_entropy_with_logits)
    held, labels = toys.vectors({"a": 3.0, "b": 0.2}, 300, seed=2)
    many = torch.stack([labels == 0, labels < 2], 1).float()
    report = equimodal.diagnose(
        model, toys.batches(held, many), modalities=["a", "b"], layers={"a": ["encoders.a"], "b": ["encoders.b"]}
    )
    assert (report.task, report.score) == ("multilabel", "sample F1")
    assert ("dominant", "a") in kinds(report)
    assert "class-mean: class means need classes" in report.notes
    probe = report.measure("probe")
    assert probe.find("score", "a")[0].estimate.value > 0.85 > 0.75 > probe.find("score", "b")[0].estimate.value


def test_numbers() -> None:
    drawn = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(600, 3, generator=drawn) for name in ("a", "b")}
    labels = inputs["a"].sum(1) + 0.2 * inputs["b"].sum(1)
    model = toys.MLPs({"a": 3, "b": 3}, 1)
    first = {name: x[:300] for name, x in inputs.items()}
    toys.train(model, first, labels=labels[:300], loss=lambda o, y: functional.mse_loss(o[:, 0], y), steps=150)
    report = equimodal.diagnose(
        model,
        toys.batches({name: x[300:] for name, x in inputs.items()}, labels[300:]),
        modalities=["a", "b"],
        layers={"a": ["encoders.a"], "b": ["encoders.b"]},
        decision=("head", {"a": 16, "b": 16}),
    )
    assert (report.task, report.score) == ("regression", "R2")
    assert report.full.value > 0.9
    assert ("dominant", "a") in kinds(report)
    shares = [e.estimate.value for e in report.measure("shapley").entries if e.quantity == "share"]
    assert shares[0] == pytest.approx(1 / 1.04, abs=0.03), "R2 of a sum is shared by variance"
    probe = report.measure("probe")
    assert probe.find("score", "a")[0].estimate.value > 0.8 > 0.3 > probe.find("score", "b")[0].estimate.value


class Triple(nn.Module):
    """Takes three tensors in a list, as its only argument."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(18, 3)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        logits: Tensor = self.linear(torch.cat(inputs, 1))
        return logits


def test_three_modalities_by_an_adapter() -> None:
    names = ("a", "b", "c")
    inputs, labels = toys.vectors(dict.fromkeys(names, 2.0), 400, seed=1)
    torch.manual_seed(0)
    model = Triple()
    toys.train(model, list(inputs.values()), labels=labels)
    held, truth = toys.vectors(dict.fromkeys(names, 2.0), 300, seed=2)
    rows = [
        {"features": torch.cat([x[i : i + 50] for x in held.values()], 1), "id": truth[i : i + 50]}
        for i in range(0, 300, 50)
    ]
    report = equimodal.diagnose(
        model,
        rows,
        modalities=names,
        adapter=lambda batch: (dict(zip(names, batch["features"].split(6, 1), strict=True)), batch["id"]),
        call=lambda model, inputs: model(list(inputs.values())),
        measures=["shapley", "emap"],
    )
    assert kinds(report) == set()
    shapley = {e.of: e.estimate.value for e in report.measure("shapley").entries if e.quantity != "value"}
    assert list(shapley) == ["a", "b", "c", "a x b", "a x c", "b x c", "all"]
    assert report.measure("emap").find("drop", "all")[0].estimate.value == 0.0


def test_a_model_of_this_workbench() -> None:
    """Its outputs, its padded sequences, its own rule of prediction."""
    drawn = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (120,), generator=drawn)
    shown = functional.one_hot(labels, 3).float()[:, None]
    text = torch.randn(120, 5, 3, generator=drawn) + 2 * shown
    mask = torch.arange(5) < torch.randint(2, 6, (120, 1), generator=drawn)
    picture = torch.randn(120, 4, generator=drawn)
    encoders: dict[str, Encoder] = {
        "text": BlockList("text", [nn.Identity()], None, 2),
        "picture": BlockList("picture", [nn.Linear(4, 6), nn.ReLU()], None, 1),
    }
    model = MultimodalModel(encoders, Concat({"text": 3, "picture": 6}, 3))
    with torch.no_grad():
        model.fusion.linear.weight.zero_()  # type: ignore[union-attr, operator]
        model.fusion.linear.weight[:, :3] = torch.eye(3)  # type: ignore[index]
    batches = [
        ({"text": Padded(text[i : i + 40], mask[i : i + 40]), "picture": picture[i : i + 40]}, labels[i : i + 40])
        for i in range(0, 120, 40)
    ]
    report = equimodal.diagnose(
        model,
        batches,
        modalities=["text", "picture"],
        call=lambda model, inputs: model.predict(inputs),
        measures=["permutation", "shapley", "zero", "mean", "probe", "logit-share"],
        layers={"text": ["encoders.text.layers.0"], "picture": ["encoders.picture.layers.0"]},
        decision=("fusion.linear", {"text": 3, "picture": 6}),
        pool=lambda output: output.mean() if isinstance(output, Padded) else output,
    )
    assert report.full.value > 0.85
    assert kinds(report) == {("dead", "picture"), ("dominant", "text")}
    assert report.measure("probe").find("score", "text")[0].estimate.value > 0.85
    assert [e.estimate.value for e in report.measure("logit-share").entries] == [1.0, 0.0]
