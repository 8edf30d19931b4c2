"""Optimizers and learning-rate schedules; the rate is a function of the epoch: there is no schedule state to save."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from equimodal.settings.training import OptimizerSettings, ScheduleSettings


def build_optimizer(parameters: Iterable[nn.Parameter], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """SGD with momentum, Adam or AdamW."""
    if settings.name == "sgd":
        return torch.optim.SGD(
            parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    return kind(parameters, lr=settings.lr, weight_decay=settings.weight_decay)


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
