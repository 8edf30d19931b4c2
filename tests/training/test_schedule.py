"""Learning rates by epoch, and the optimizers' settings."""

import math

import pytest
import torch

from equimodal.settings.training import OptimizerSettings, ScheduleSettings
from equimodal.training.schedule import adopt, build_optimizer, rate_factor


def factors(epochs: int = 6, **settings: object) -> list[float]:
    return [rate_factor(epoch, epochs, ScheduleSettings(**settings)) for epoch in range(epochs)]  # type: ignore[arg-type]


def test_schedules_follow_their_formulas() -> None:
    assert factors(name="constant") == [1.0] * 6
    assert factors(name="step", step=2, gamma=0.1) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert factors(name="cosine") == pytest.approx([0.5 * (1 + math.cos(math.pi * e / 6)) for e in range(6)])


def test_warmup_rises_linearly_before_the_schedule() -> None:
    assert factors(name="constant", warmup=3) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert factors(name="cosine", warmup=2) == pytest.approx(
        [1 / 3, 2 / 3, *(0.5 * (1 + math.cos(math.pi * e / 4)) for e in range(4))]
    )
    assert factors(name="cosine", warmup=6) == pytest.approx([(e + 1) / 7 for e in range(6)])


def test_optimizers_take_their_settings() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2))]
    sgd = build_optimizer(weights, OptimizerSettings(lr=0.1, momentum=0.8, weight_decay=0.01))
    assert type(sgd) is torch.optim.SGD and {k: sgd.defaults[k] for k in ("lr", "momentum", "weight_decay")} == {
        "lr": 0.1,
        "momentum": 0.8,
        "weight_decay": 0.01,
    }
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        made = build_optimizer(weights, OptimizerSettings(name=name, lr=0.1, weight_decay=0.01))  # type: ignore[arg-type]
        assert type(made) is kind and made.defaults["lr"] == 0.1 and made.defaults["weight_decay"] == 0.01


def test_parameters_that_come_later_are_trained_like_the_first() -> None:
    first, second = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = build_optimizer([first], OptimizerSettings(lr=0.1, momentum=0.0, weight_decay=0.5))
    optimizer.param_groups[0]["lr"] = 0.01  # as the schedule does
    for _ in range(2):
        adopt(optimizer, [first, second])
    for parameter in (first, second):
        parameter.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(first, second) and first.tolist() == pytest.approx([1 - 0.01 * 1.5] * 2)
    for wrong in ([second, first], [first]):
        with pytest.raises(ValueError, match="may only grow at its end"):
            adopt(optimizer, wrong)
