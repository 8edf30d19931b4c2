"""Passes: how many, over which samples, in which order."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import diagnosis_toys as toys
from equimodal.diagnosis.diagnose import diagnose
from equimodal.errors import UserError

INPUTS, LABELS = toys.vectors({"audio": 2.0, "visual": 2.0}, 70, seed=1)
NAMES = {name: f"encoders.{name}" for name in INPUTS}


class Counted:
    """Counts how often it is iterated."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches, self.passes = batches, 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return iter(self.batches)


class CountedModel(toys.MLPs):
    """Counts the samples that it sees."""

    seen = 0

    def forward(self, inputs: Any) -> torch.Tensor:
        self.seen += len(next(iter(inputs.values())))
        return super().forward(inputs)


def test_the_default_set_takes_at_most_twelve_passes_with_everything_named() -> None:
    model, loader = CountedModel(dict.fromkeys(INPUTS, 6), 3), Counted(toys.batches(INPUTS, LABELS, 16))
    report = diagnose(
        model,
        loader,
        modalities=list(INPUTS),
        encoders=NAMES,
        layers={name: [own] for name, own in NAMES.items()},
        decision="head",
    )
    assert report.passes == loader.passes == model.seen // 70 == 10
    names = ["permutation", "shapley", "readout", "probe", "class-mean", "logit-share", "zero", "mean"]
    assert [measured.name for measured in report.measures] == names


@pytest.mark.parametrize("count", [3, 4, 5, 6])
def test_nor_with_more_modalities(count: int) -> None:
    names = [f"m{i}" for i in range(count)]
    inputs, labels = toys.vectors(dict.fromkeys(names, 2.0), 30, seed=1)
    loader = Counted(toys.batches(inputs, labels))
    report = diagnose(toys.MLPs(dict.fromkeys(names, 6), 3), loader, modalities=names)
    assert report.passes == loader.passes <= 12
    assert {"permutation"} <= {measured.name for measured in report.measures}
    assert any(note.startswith("emap") for note in report.notes)


def test_measures_share_passes() -> None:
    model = toys.MLPs(dict.fromkeys(INPUTS, 6), 3)
    batches = toys.batches(INPUTS, LABELS)
    by_measures = {
        measures: diagnose(model, batches, modalities=list(INPUTS), measures=measures).passes
        for measures in (("permutation",), ("shapley",), ("permutation", "shapley"), ("zero", "missing"))
    }
    assert list(by_measures.values()) == [3, 4, 4, 4]


@pytest.mark.parametrize("own", [True, False])
def test_a_loader_that_shuffles_is_put_back_before_every_pass(own: bool) -> None:
    model = toys.MLPs(dict.fromkeys(INPUTS, 6), 3)
    data = TensorDataset(*INPUTS.values(), LABELS)
    generator = torch.Generator().manual_seed(5) if own else None
    state = generator.get_state() if generator is not None else None
    loader = DataLoader(data, batch_size=16, shuffle=True, generator=generator)

    def call(model: Any, inputs: Any) -> Any:
        return model(dict(zip(NAMES, inputs.values(), strict=True)))

    shuffled, plain = (
        diagnose(model, each, modalities=list(NAMES), call=call, measures="zero")
        for each in (loader, DataLoader(data, batch_size=16))
    )
    drops = [[e.estimate.value for e in report.measure("zero").find("drop", "audio")] for report in (shuffled, plain)]
    assert drops[0] == pytest.approx(drops[1])
    assert shuffled.full.value == pytest.approx(plain.full.value)
    assert generator is None or torch.equal(generator.get_state(), state)  # type: ignore[arg-type]


class Reordered(Counted):
    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return iter(self.batches if self.passes == 1 else self.batches[::-1])


class Shorter(Counted):
    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return iter(self.batches if self.passes == 1 else self.batches[:-1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (iter, "a list_iterator that can be iterated once only"),
        (lambda batches: (batch for batch in batches), "a generator that can be iterated once only"),
        (Reordered, "other samples, or another order"),
        (Shorter, "70 samples at first and then 64"),
        (lambda batches: [], "no batch"),
    ],
)
def test_loaders_that_cannot_be_compared_are_refused(make: Any, words: str) -> None:
    model = toys.MLPs(dict.fromkeys(INPUTS, 6), 3)
    with pytest.raises(UserError, match=words) as refused:
        diagnose(model, make(toys.batches(INPUTS, LABELS, 32)), modalities=list(INPUTS))
    assert "\n" not in str(refused.value)


def test_a_model_whose_output_has_no_batch_is_refused() -> None:
    model = toys.MLPs(dict.fromkeys(INPUTS, 6), 3)
    with pytest.raises(UserError, match=r"output has shape \[3\] for 64 samples"):
        diagnose(model, toys.batches(INPUTS, LABELS), modalities=list(INPUTS), output=lambda logits: logits.mean(0))
