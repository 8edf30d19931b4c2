"""What every method is set by; each adds its own in its folder in `methods`."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from equimodal.settings.base import EPOCHS, Listed, Settings

BOTH_TASKS = ("classification", "regression")


class MethodSettings(Settings):
    """Every method's settings may name a preset; a variant's `base` is resolved before these are read.

    `least_modalities` and `tasks` say what data the method is for; other data is refused where params.yaml is read.
    """

    least_modalities: ClassVar[int] = 1
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    preset: str | None = Field(None, description="a set of values of this method's settings; null: the defaults")

    def refusal(self, name: str, dataset: str, modalities: Sequence[str], task: str) -> str | None:
        """Why the method `name` cannot work with a dataset, in one line; None if it can."""
        if task not in self.tasks:
            known = " and ".join(self.tasks)
            return f"method '{name}' is for {known}; datasets.{dataset}.task is {task}: leave the method out there"
        if len(modalities) < self.least_modalities:
            has = ", ".join(modalities)
            return f"method '{name}' balances modalities and needs two or more; {dataset} has: {has}"
        return None


def miscounted(key: str, weights: Sequence[float] | None, modalities: Sequence[str]) -> str | None:
    """Why weights cannot be those of the modalities, in one line; None if there is one each, or they are not given.

    Args:
        key: of the setting, below `methods`.
    """
    if weights is None or len(weights) == len(modalities):
        return None
    return (
        f"methods.{key} has {len(weights)} weights for {len(modalities)} modalities ({', '.join(modalities)}): one"
        " each, in that order, or null"
    )


class WindowSettings(MethodSettings):
    """Of methods that act in a part of the run only."""

    window: Listed[tuple[float, float]] = Field((0.0, 1.0), description="from and to, as shares of the run's epochs")

    @model_validator(mode="after")
    def _window_in_order(self) -> Self:
        first, last = self.window
        if not 0 <= first < last <= 1:
            raise ValueError(
                f"window ({first:g}, {last:g}) must be two shares of the run, the smaller first, from 0 to 1"
            )
        return self

    def window_epochs(self, run: int, both_ends: bool = False) -> range:
        """The window's epochs in a run of so many; `both_ends`: one more, as code that compares with both ends has."""
        first, last = (round(share * run, 6) for share in self.window)
        return range(math.floor(first), math.ceil(last) + both_ends)


class WarmupSettings(MethodSettings):
    """Of methods that start from a shared joint warm-up."""

    start_epoch: int = Field(5, ge=0, le=EPOCHS, description="E: epochs of joint training before the method begins")

    @property
    def fit(self) -> dict[str, Any]:
        """What the fit on the warm-up is set by: variants that agree on it share one."""
        return {"start_epoch": self.start_epoch}
