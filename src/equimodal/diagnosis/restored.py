"""A model, its gradients and every random generator as they were found, whatever is passed through the model."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from equimodal.errors import UserError
from equimodal.models.frozen import evaluation_mode


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradient inside; after it modes, buffers and the generators of torch (every device),
    NumPy and Python are as they were. Hooks are the caller's. What a model keeps outside of parameters and buffers is
    not seen.

    Raises:
        UserError: the model's forward writes to a parameter.
    """
    buffers = [(part, name, value, value.clone()) for part in model.modules() for name, value in _buffers(part)]
    versions = {name: parameter._version for name, parameter in model.named_parameters()}
    numpy_state, python_state = np.random.get_state(), random.getstate()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices), evaluation_mode(model), torch.no_grad():
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        with torch.no_grad():
            for part, name, value, copy in buffers:
                part._buffers[name] = value
                value.copy_(copy)
    for name, parameter in model.named_parameters():
        if parameter._version != versions[name]:
            raise UserError(f"diagnose: the model's forward writes to its parameter {name}: give a deep copy of it")


def _buffers(part: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [(name, value) for name, value in part._buffers.items() if value is not None]
