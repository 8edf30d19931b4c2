"""What a model costs: parameters, and floating-point operations per sample (convolutions and matrix products,
two per multiply-add).
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from equimodal.models.framework import MultimodalModel
from equimodal.models.padded import Input, Padded, blank
from equimodal.objectives import Objective

Result = TypeVar("Result")

PLAIN_BATCH = 2  # batch normalisation wants two
aten = torch.ops.aten
IDLE = {aten._unsafe_view, aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided}


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
    inputs = made_inputs(shapes, 1, device)
    with torch.no_grad():
        return int(flops_of(lambda: model(inputs))[0])


def plain_training_flops(
    model: MultimodalModel, shapes: dict[str, tuple[int, ...]], objective: Objective, device: torch.device
) -> float:
    """Forward and backward of joint training, per sample."""
    model.train()
    inputs, labels = made_inputs(shapes, PLAIN_BATCH, device), made_labels(PLAIN_BATCH, objective, device)
    counted, _ = flops_of(lambda: objective.loss(model(inputs).logits, labels).backward())
    model.zero_grad(set_to_none=True)
    return counted / PLAIN_BATCH


def flops_of(work: Callable[[], Result]) -> tuple[float, Result]:
    """Operations of a piece of work, and what it returns."""
    with FlopCounterMode(display=False) as counter:
        result = work()
    return float(counter.get_total_flops()), result


class Dispatched(TorchDispatchMode):
    """Operations of torch (aten) while it is entered: `with Dispatched() as operations: ...`. `count` is of those that
    compute (on a GPU about one kernel each), `idle` of those that do not: views, detached aliases, empty tensors.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.idle = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.is_view or func.overloadpacket in IDLE:
            self.idle += 1
        else:
            self.count += 1
        return func(*args, **(kwargs or {}))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def made_inputs(shapes: dict[str, tuple[int, ...]], batch: int, device: torch.device) -> dict[str, Input]:
    """Inputs {m: [batch, ...]} to count with."""
    # Values do not change the count; ones that differ keep distances and deviations away from zero.
    # Sequences count at full length.
    inputs = {name: blank(batch, shape, device) for name, shape in shapes.items()}
    for x in inputs.values():
        values = x.values if isinstance(x, Padded) else x
        values += torch.linspace(-1, 1, batch, device=device).view(-1, *[1] * (values.dim() - 1))
    return inputs


def made_labels(batch: int, objective: Objective, device: torch.device) -> Tensor:
    """Labels [batch] to count with."""
    return objective.prototype_labels(device)[torch.arange(batch, device=device) % objective.classes]
