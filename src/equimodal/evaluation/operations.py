"""What a model costs: parameters, and floating-point operations a sample (convolutions and matrix products, two a
multiply-add).
"""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from equimodal.methods.base import Batch, Method
from equimodal.models.framework import MultimodalModel
from equimodal.models.padded import Input, Padded, blank
from equimodal.objectives import Objective
from equimodal.progress import watched
from equimodal.settings.training import TrainingSettings

PLAIN_BATCH = 2  # batch normalisation wants two


def parameters(model: MultimodalModel) -> dict[str, Any]:
    """Weights: {"total", "encoders": {m: n}, "fusion"}."""
    return {
        "total": _count(model),
        "encoders": {name: _count(encoder) for name, encoder in model.encoders.items()},
        "fusion": _count(model.fusion),
    }


def inference_flops(model: MultimodalModel, shapes: dict[str, tuple[int, ...]], device: torch.device) -> int:
    """One sample forward."""
    model.eval()
    inputs = _inputs(shapes, 1, device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(inputs)
    return int(counter.get_total_flops())


def plain_training_flops(
    model: MultimodalModel, shapes: dict[str, tuple[int, ...]], objective: Objective, device: torch.device
) -> float:
    """Forward and backward of joint training, a sample."""
    model.train()
    inputs, labels = _inputs(shapes, PLAIN_BATCH, device), _labels(PLAIN_BATCH, objective, device)
    with FlopCounterMode(display=False) as counter:
        objective.loss(model(inputs).logits, labels).backward()
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops() / PLAIN_BATCH


def method_training_flops(
    method: Method, shapes: dict[str, tuple[int, ...]], training: TrainingSettings, device: torch.device
) -> float:
    """The method's own steps at the run's batch size, a sample, averaged over one `cycle` of them; work between epochs
    is left out.

    The method is used up: its own optimizers step.
    """
    loop = StepLoop(method, training, device)
    batch = Batch(
        _inputs(shapes, training.batch_size, device), _labels(training.batch_size, method.task.objective, device)
    )
    cycle = method.cycle()
    method.train()
    method.prepare(loop)  # type: ignore[arg-type]
    method.begin_epoch(0, loop)  # type: ignore[arg-type]
    with FlopCounterMode(display=False) as counter:
        for _ in watched(range(cycle), cycle, "counting operations", "steps"):
            method.training_step(batch, loop)  # type: ignore[arg-type]
    return counter.get_total_flops() / (cycle * training.batch_size)


class StepLoop:
    """What a method's step may ask of the training loop, without data, checkpoints or an optimizer's step: enough to
    count operations.
    """

    def __init__(self, method: Method, training: TrainingSettings, device: torch.device) -> None:
        self.method = method
        self.module = method
        self.training = training
        self.device = device
        self.seed = method.task.seed
        self.fabric = SimpleNamespace(autocast=nullcontext, device=device, world_size=1, global_rank=0)

    def optimize(self, loss: Tensor) -> None:
        """Backward pass and the method's edits of the gradients."""
        loss.backward()
        self.method.after_backward(self)  # type: ignore[arg-type]
        for parameter in self.method.main_parameters():
            parameter.grad = None


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _inputs(shapes: dict[str, tuple[int, ...]], batch: int, device: torch.device) -> dict[str, Input]:
    # Values do not change the count; ones that differ keep distances and deviations away from zero. Sequences count at
    # full length.
    inputs = {name: blank(batch, shape, device) for name, shape in shapes.items()}
    for x in inputs.values():
        values = x.values if isinstance(x, Padded) else x
        values += torch.linspace(-1, 1, batch, device=device).view(-1, *[1] * (values.dim() - 1))
    return inputs


def _labels(batch: int, objective: Objective, device: torch.device) -> Tensor:
    return objective.prototype_labels(device)[torch.arange(batch, device=device) % objective.classes]
