"""What a method does by itself in a run of several processes."""

import torch
from torch import Tensor, nn


def average(*values: Tensor) -> tuple[Tensor, ...]:
    """Means over the processes of a distributed run of tensors without gradient, in one message; in a single process
    the tensors themselves.

    Every process must call it as often, with tensors of the same shapes and type.
    """
    if not _several():
        return values
    flat = torch.cat([value.flatten() for value in values])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    parts = flat.split([value.numel() for value in values])
    return tuple(part.view_as(value) for part, value in zip(parts, values, strict=True))


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Average gradients over the processes of a distributed run, in one message; nothing to do in a single process.

    Prototypes and auxiliary networks have their own optimizers outside DDP's reducer (aim.method),
    so their gradients travel here.
    """
    if not _several():
        return
    gradients = [
        parameter.grad if parameter.grad is not None else torch.zeros_like(parameter) for parameter in parameters
    ]
    for parameter, averaged in zip(parameters, average(*gradients), strict=True):
        parameter.grad = averaged


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
