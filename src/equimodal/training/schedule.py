"""Optimizers and learning-rate schedules; the rate is a function of the epoch: there is no schedule state to save."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from equimodal.settings.training import OptimizerSettings, ScheduleSettings

# Numbers up to which a step's copies of all parameters stay in a CPU's cache. CPU time against one by one: 0.6 at
# 160,000 numbers, 2 at 22 million (torch itself chooses foreach on a GPU).
FOREACH = 1 << 20


def build_optimizer(parameters: Iterable[nn.Parameter], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """SGD with momentum, Adam or AdamW; a small model's parameters in one operation (foreach), the same bits as one by
    one.

    Not fused: such kernels read memory in order, and step wrongly without a word where a gradient or restored state
    lies otherwise than its parameter (channels last); SGD's cannot take parameters that come later (`adopt`) either.
    """
    ready = list(parameters)
    foreach = True if sum(parameter.numel() for parameter in ready) < FOREACH else None
    if settings.name == "sgd":
        return torch.optim.SGD(
            ready,
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            foreach=foreach,
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    return kind(ready, lr=settings.lr, weight_decay=settings.weight_decay, foreach=foreach)


def adopt(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> None:
    """Let an optimizer of one group take what has come behind its parameters, with the group's rate and weight decay.

    Raises:
        ValueError: its parameters are not the first of `parameters`; their saved state goes by position.
    """
    known: list[nn.Parameter] = optimizer.param_groups[0]["params"]
    wanted = list(parameters)
    if len(wanted) < len(known) or any(old is not new for old, new in zip(known, wanted, strict=False)):
        raise ValueError("main_parameters() may only grow at its end while training")
    known.extend(wanted[len(known) :])


def rate_factor(epoch: int, epochs: int, settings: ScheduleSettings) -> float:
    """Factor on the learning rate in an epoch (counted from 0) of a run of `epochs`."""
    if epoch < settings.warmup:
        return (epoch + 1) / (settings.warmup + 1)
    if settings.name == "step":
        return settings.gamma ** (epoch // settings.step)
    if settings.name == "cosine":
        done = (epoch - settings.warmup) / max(1, epochs - settings.warmup)
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1.0
