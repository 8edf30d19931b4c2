"""Hugging Face: a diagnosis of their VisualBERT, random weights trained on problems whose imbalance is known, and the
callback in their Trainer.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments, VisualBertConfig, VisualBertForVisualReasoning

import diagnosis_toys as toys
import equimodal
from equimodal.errors import UserError

CLASSES, TOKENS, REGIONS, WIDTH, VOCABULARY = 4, 6, 3, 8, 20
MODALITIES = {"text": ("input_ids", "attention_mask"), "image": ("visual_embeds", "visual_attention_mask")}
EMBEDDINGS = "visual_bert.embeddings"
ENCODERS = {"text": f"{EMBEDDINGS}.word_embeddings", "image": f"{EMBEDDINGS}.visual_projection"}
CLS, FIRST = 1, 2  # token ids; 0 pads

# What each modality tells of a class, which is a pair of bits, and how well: words by the share of them that come from
# the class's own, an image's regions by a shift in units of their noise.
PROBLEMS: dict[str, dict[str, tuple[tuple[int, ...], float]]] = {
    "text leads": {"text": ((0, 1), 0.75), "image": ((1,), 0.5)},
    "image leads": {"text": ((0,), 0.2), "image": ((0, 1), 3.0)},
    "balanced": {"text": ((0,), 0.75), "image": ((1,), 2.5)},
}


def problem(name: str, samples: int, seed: int) -> dict[str, Tensor]:
    """Sentences and regions of 4 classes, padded, with masks."""
    (said, share), (shown, shift) = PROBLEMS[name]["text"], PROBLEMS[name]["image"]
    drawn = torch.Generator().manual_seed(seed)
    bits = torch.randint(2, (samples, 2), generator=drawn)
    group = sum(bits[:, bit] << place for place, bit in enumerate(said))
    size = (VOCABULARY - FIRST) // 2 ** len(said)
    own = FIRST + size * group[:, None] + torch.randint(size, (samples, TOKENS), generator=drawn)
    other = torch.randint(FIRST, VOCABULARY, (samples, TOKENS), generator=drawn)
    ids = torch.where(torch.rand(samples, TOKENS, generator=drawn) < share, own, other)
    ids[:, 0] = CLS
    mask = (torch.arange(TOKENS) < torch.randint(4, TOKENS + 1, (samples, 1), generator=drawn)).long()
    regions = torch.randn(samples, REGIONS, WIDTH, generator=drawn)
    for bit in shown:
        regions[..., bit] += shift * (bits[:, bit, None] - 0.5)
    seen = (torch.arange(REGIONS) < torch.randint(2, REGIONS + 1, (samples, 1), generator=drawn)).long()
    return {
        "input_ids": ids * mask,
        "attention_mask": mask,
        "visual_embeds": regions,
        "visual_attention_mask": seen,
        "labels": 2 * bits[:, 0] + bits[:, 1],
    }


def visual_bert(dropout: float = 0.1) -> VisualBertForVisualReasoning:
    torch.manual_seed(0)
    return VisualBertForVisualReasoning(
        VisualBertConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            visual_embedding_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=16,
            num_labels=CLASSES,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            initializer_range=0.1,
        )
    )


def batches(data: dict[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    return [{key: x[start : start + size] for key, x in data.items()} for start in range(0, len(data["labels"]), size)]


@cache
def trained(name: str, steps: int = 150) -> VisualBertForVisualReasoning:
    """A model after `steps` of Adam on batches of 64, none twice."""
    model = visual_bert()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for batch in batches(problem(name, 64 * steps, 1), 64):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    return model


def diagnosed(name: str, modalities: Any = MODALITIES, **options: Any) -> equimodal.Diagnosis:
    """What is said of a problem's model on held-out samples."""
    return equimodal.diagnose(trained(name), batches(problem(name, 400, 2), 100), modalities=modalities, **options)


def findings(report: equimodal.Diagnosis) -> set[tuple[str | None, str]]:
    return {(finding.modality, finding.kind) for finding in report.findings}


@pytest.mark.parametrize("lead, weak", [("text", "image"), ("image", "text")])
def test_the_weak_modality_is_named(lead: str, weak: str) -> None:
    report = diagnosed(f"{lead} leads", encoders=ENCODERS, layers={name: [own] for name, own in ENCODERS.items()})
    assert report.full.value > 0.9
    found = findings(report)
    assert (lead, "dominant") in found
    assert found & {(weak, "unused"), (weak, "dominated")}
    assert {modality for modality, kind in found if kind != "dominant"} == {weak}
    # the leader can do without the other, its embeddings at zero; not the other way round
    readouts = {name: report.measure("readout").find("score", name)[0].estimate.value for name in MODALITIES}
    assert readouts[lead] > 0.85 and readouts[weak] < 0.5


def test_a_balanced_model_is_not_accused() -> None:
    report = diagnosed("balanced", encoders=ENCODERS)
    assert report.full.value > 0.9
    assert findings(report) == set()
    assert "No imbalance" in report.verdict


def test_a_dead_modality_is_found() -> None:
    """Its mask still says how many regions there are, which the output shows: dead is what the values do."""
    part = trained("balanced").get_submodule(ENCODERS["image"])
    handle = part.register_forward_hook(lambda module, inputs, output: 0 * output)
    try:
        values = diagnosed("balanced", {"text": MODALITIES["text"], "image": "visual_embeds"})
        with_mask = diagnosed("balanced")
    finally:
        handle.remove()
    assert ("image", "dead") in findings(values)
    assert values.measure("permutation").find("moved", "image")[0].estimate.value == 0
    assert findings(with_mask) & {("image", "unused"), ("image", "dominated")}
    assert ("image", "dead") not in findings(with_mask)
    assert with_mask.measure("permutation").find("moved", "image")[0].estimate.value > 0
    for report in (values, with_mask):
        assert {kind for modality, kind in findings(report) if modality == "text"} <= {"dominant"}


def test_masks_stay_or_go_with_their_values() -> None:
    model, called = trained("balanced"), []
    before = {key: value.clone() for key, value in model.state_dict().items()}
    handle = model.register_forward_pre_hook(lambda module, args, inputs: called.append(inputs), with_kwargs=True)
    try:
        diagnosed("balanced", measures=["permutation", "zero"])
    finally:
        handle.remove()
    assert model.training and all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    true = batches(problem("balanced", 400, 2), 100)
    passes = [called[start : start + len(true)] for start in range(0, len(called), len(true))]
    assert len(passes) == 5 and all(list(inputs) == list(true[0])[:-1] for inputs in called)
    zeroed = [each for each in passes if not each[0]["input_ids"].any()]
    swapped = [
        each
        for each in passes
        if each[0]["input_ids"].any() and not torch.equal(each[0]["input_ids"], true[0]["input_ids"])
    ]
    assert len(zeroed) == len(swapped) == 1
    for inputs, batch in zip(zeroed[0], true, strict=True):
        assert torch.equal(inputs["attention_mask"], batch["attention_mask"])
    for inputs, batch in zip(swapped[0], true, strict=True):
        assert torch.equal(inputs["attention_mask"], inputs["input_ids"].ne(0).long())
        assert not torch.equal(inputs["attention_mask"], batch["attention_mask"])


@pytest.fixture(autouse=True)
def no_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers takes the folder tests/datasets, which is on the path of the tests, for the package `datasets`."""
    monkeypatch.setattr("transformers.trainer.is_datasets_available", lambda: False)


def train(model: nn.Module, folder: Path, *callbacks: TrainerCallback, samples: int = 64, **options: Any) -> nn.Module:
    """Two epochs of Trainer: a step of plain gradient descent for 64 samples, by default two accumulated batches."""
    trainer = Trainer(model, arguments(folder, **options), train_dataset=rows(samples), callbacks=list(callbacks))
    trainer.train()
    return model


def rows(samples: int) -> list[dict[str, Tensor]]:
    data = problem("text leads", samples, 1)
    return [{key: x[i] for key, x in data.items()} for i in range(samples)]


def arguments(folder: Path, **options: Any) -> TrainingArguments:
    return TrainingArguments(
        **{
            "output_dir": str(folder),
            "num_train_epochs": 2,
            "per_device_train_batch_size": 32,
            "gradient_accumulation_steps": 2,
            "optim": "sgd",
            "learning_rate": 0.1,
            "lr_scheduler_type": "constant",
            "report_to": "none",
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": True,
            "dataloader_pin_memory": False,
            **options,
        }
    )


def norms(model: VisualBertForVisualReasoning) -> dict[str, tuple[float, float]]:
    """Of each encoder: the norms of the gradient of the loss over all samples, and of the weights."""
    found = {}
    data = problem("text leads", 64, 1)
    for name, own in ENCODERS.items():
        weights = list(model.get_submodule(own).parameters())
        gradients = torch.autograd.grad(model(**data).loss, weights)
        found[name] = norm(gradients), norm(weights)
    return found


def norm(tensors: Iterable[Tensor]) -> float:
    return float(torch.cat([tensor.detach().flatten().double() for tensor in tensors]).norm())


def test_trainer_ends_where_it_would(tmp_path: Path) -> None:
    watched = train(visual_bert(), tmp_path, equimodal.HuggingFaceMonitor(ENCODERS), samples=160)
    plain = train(visual_bert(), tmp_path, samples=160)
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("accumulated, clip", [(1, 0.0), (2, 0.05)])
def test_trainers_steps_are_watched(accumulated: int, clip: float, tmp_path: Path) -> None:
    """The gradient of the mean loss over all samples; clipped, where Trainer clips. (Unclipped it could be the sum over
    accumulated batches: Trainer does not divide the loss of a model whose forward takes any keyword.)
    """
    watch = equimodal.HuggingFaceMonitor(ENCODERS)
    with pytest.raises(UserError, match="HuggingFaceMonitor: no training has begun with this callback"):
        _ = watch.monitor
    rate = 10.0  # far enough in a step that weights before and after it differ in size
    sizes = {"per_device_train_batch_size": 64 // accumulated, "gradient_accumulation_steps": accumulated}
    model = train(visual_bert(dropout=0.0), tmp_path, watch, max_grad_norm=clip, learning_rate=rate, **sizes)
    report = equimodal.diagnose(
        model, batches(problem("text leads", 64, 2), 32), modalities=MODALITIES, measures="zero", training=watch.monitor
    )
    measured = report.measure("training")
    start = visual_bert(dropout=0.0)
    start(**problem("text leads", 64, 1)).loss.backward()
    whole = norm(weight.grad for weight in start.parameters() if weight.grad is not None)
    scale = clip / whole if clip else 1.0
    assert whole > 2 * clip
    for name, (gradient, weights) in norms(start).items():
        assert [entry.at for entry in measured.find("gradient", name)] == [1.0, 2.0]
        found = {
            quantity: measured.find(quantity, name)[0].estimate.value for quantity in ("gradient", "speed", "moved")
        }
        assert found["gradient"] == pytest.approx(scale * gradient, rel=1e-3)
        assert found["speed"] == pytest.approx((scale * gradient / weights) ** 2, rel=1e-3)
        assert found["moved"] == pytest.approx(rate * scale * gradient / weights, rel=1e-3)


def test_every_step_counts_and_every_train_begins_anew(tmp_path: Path) -> None:
    watch, by_hand = equimodal.HuggingFaceMonitor(ENCODERS), []

    class ByHand(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            by_hand.append(norm([given["model"].get_submodule(ENCODERS["text"]).weight.grad]))

    model = train(visual_bert(), tmp_path, watch, ByHand(), samples=256, max_steps=6)
    first = watch.monitor
    found = [entry.estimate.value for entry in first.measured().find("gradient", "text")]
    assert found == pytest.approx([sum(by_hand[:4]) / 4, sum(by_hand[4:]) / 2], rel=1e-5)
    train(model, tmp_path, watch)
    assert watch.monitor is not first
    assert len(watch.monitor.measured().find("gradient", "text")) == 2


def test_the_pages_snippet_runs(tmp_path: Path) -> None:
    given = {
        "equimodal": equimodal,
        "transformers": transformers,
        "model": visual_bert(),
        "arguments": arguments(tmp_path),
        "dataset": rows(64),
        "held_out": batches(problem("text leads", 64, 2), 32),
    }
    exec(toys.snippet("HuggingFaceMonitor"), given)
    assert [entry.at for entry in given["report"].measure("training").find("moved", "image")] == [1.0, 2.0]


def test_shared_weights_and_names_reach_the_monitor(tmp_path: Path) -> None:
    watch = equimodal.HuggingFaceMonitor(ENCODERS, shared=["visual_bert.encode"])
    with pytest.raises(UserError, match=r"shared: the model has no submodule 'visual_bert\.encode'"):
        train(visual_bert(), tmp_path, watch)
