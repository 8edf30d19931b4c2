"""What a method does by itself in a run of several processes."""

import torch
from torch import nn


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Average gradients over the processes of a distributed run, in one message; nothing to do in a single process.

    Prototypes and auxiliary networks have their own optimizers outside DDP's reducer (aim.method),
    so their gradients travel here.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    gradients = [
        parameter.grad if parameter.grad is not None else torch.zeros_like(parameter) for parameter in parameters
    ]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for parameter, averaged in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = averaged.view_as(parameter)
