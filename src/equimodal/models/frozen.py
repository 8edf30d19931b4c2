"""A framework held still: its modes and running statistics as they were,
whatever is passed through it (aim.md sections 3 and 4).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, every module's own mode restored after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """As `evaluation_mode`, but batch normalisation uses the batch's statistics, as it will during modulation;
    dropout stays off.
    """
    with evaluation_mode(model):
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.training = True
        yield


def call_untouched(module: nn.Module, parameters: dict[str, Tensor], *inputs: Any) -> Any:
    """`module(*inputs)` with some parameters replaced; running buffers are updated in clones, never in the module."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    return functional_call(module, {**parameters, **buffers}, inputs)
