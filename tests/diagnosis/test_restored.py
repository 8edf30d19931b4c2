"""Nothing of a model is changed by diagnosing it."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import diagnosis_toys as toys
from equimodal.diagnosis.diagnose import diagnose
from equimodal.errors import UserError


def snapshot(model: nn.Module) -> dict[str, Any]:
    hooks = [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in model.modules()]
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "objects": {name: id(value) for name, value in model.state_dict(keep_vars=True).items()},
        "modes": [part.training for part in model.modules()],
        "trained": [p.requires_grad for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "hooks": hooks,
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[union-attr]
        "python": random.getstate(),
    }


class Writes(toys.MLPs):
    """Draws random numbers of all kinds, and writes to its buffers in evaluation mode too."""

    def __init__(self, in_place: bool) -> None:
        super().__init__({"audio": 6, "visual": 6}, 3)
        self.in_place = in_place
        self.register_buffer("calls", torch.zeros(()))
        self.calls: Tensor

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        if self.in_place:
            self.calls += 1
        else:
            self.calls = self.calls + 1
        return super().forward(inputs) + 0 * (torch.rand(()) + np.random.rand() + random.random())


@pytest.mark.parametrize("in_place", [True, False])
def test_nothing_is_changed(in_place: bool) -> None:
    model = Writes(in_place)
    model.encoders["audio"].eval()
    model.encoders["visual"][0].weight.requires_grad_(False)  # type: ignore[index, union-attr]
    inputs, labels = toys.vectors({"audio": 2.0, "visual": 2.0}, 60, seed=1)
    model(inputs).square().sum().backward()
    before = snapshot(model)
    names = {name: f"encoders.{name}" for name in inputs}
    diagnose(
        model,
        toys.batches(inputs, labels, 20),
        modalities=list(inputs),
        measures="all",
        encoders=names,
        layers={name: [own] for name, own in names.items()},
        decision="head",
    )
    assert toys.equal(snapshot(model), before)


def test_batch_normalisation_and_dropout_stay() -> None:
    model = toys.TwoStream()
    drawn = torch.Generator().manual_seed(0)
    pictures = [torch.randn(40, 1, 6, 6, generator=drawn) for _ in toys.NAMES]
    before = snapshot(model)
    report = diagnose(model, toys.loader(*pictures, torch.arange(40) % 4, size=10, shuffle=True), modalities=toys.NAMES)
    assert toys.equal(snapshot(model), before)
    assert report.samples == 40


class Modes(toys.TwoStream):
    """Keeps how it is passed through."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[bool, bool]] = set()

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        self.seen.add((self.audio[1].training, torch.is_grad_enabled()))
        return super().forward(audio, visual)


def test_passes_are_in_evaluation_mode_without_gradient() -> None:
    model = Modes()
    pictures = [torch.randn(20, 1, 6, 6, generator=torch.Generator().manual_seed(0)) for _ in toys.NAMES]
    diagnose(model, toys.loader(*pictures, torch.arange(20) % 4), modalities=toys.NAMES)
    assert model.seen == {(False, False)}


class Breaks(toys.MLPs):
    """Fails in its third call."""

    calls = 0

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("out of memory")
        return super().forward(inputs)


def test_nor_by_one_that_breaks_off() -> None:
    model = Breaks({"audio": 6, "visual": 6}, 3)
    inputs, labels = toys.vectors({"audio": 2.0, "visual": 2.0}, 60, seed=1)
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="out of memory"):
        diagnose(
            model,
            toys.batches(inputs, labels, 20),
            modalities=list(inputs),
            layers={name: [f"encoders.{name}"] for name in inputs},
        )
    assert toys.equal(snapshot(model), before)


class WritesWeights(toys.MLPs):
    """Changes a parameter in its forward."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        self.head.bias.data.zero_()
        self.head.bias.mul_(0.5)
        return super().forward(inputs)


def test_a_forward_that_writes_to_its_weights_is_refused() -> None:
    model = WritesWeights({"audio": 6, "visual": 6}, 3)
    inputs, labels = toys.vectors({"audio": 2.0, "visual": 2.0}, 20, seed=1)
    with pytest.raises(UserError, match=r"writes to its parameter head\.bias"):
        diagnose(model, toys.batches(inputs, labels), modalities=list(inputs))
