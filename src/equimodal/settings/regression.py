"""Settings of a regression: the loss, and the grid of target values that stands where classification has classes."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from equimodal.settings.base import Settings

Label = Annotated[float, Field(ge=-1e12, le=1e12)]


class RegressionSettings(Settings):
    """Labels are numbers in [low, high].

    `points` evenly spaced values of that range, ends included, are the classes of whatever asks for classes.
    """

    loss: Literal["l1", "mse"] = Field("l1", description="absolute or squared error")
    low: Label = Field(description="smallest label; a smaller one is refused")
    high: Label = Field(description="largest label; a larger one is refused")
    points: int = Field(
        7,
        ge=2,
        le=1000,
        description="grid values from low to high: AIM's prototypes, and the classes of accuracy, macro-F1 and"
        " confusion",
    )
    bandwidth: float = Field(
        1.0,
        ge=1,
        le=1000,
        description="half-width, in grid steps, of the kernel that shares a label among grid values; 1 interpolates"
        " linearly",
    )
    threshold: float = Field(
        0.0, description="labels and predictions at or above it count as positive in binary accuracy and F1"
    )

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if len(set(self.grid)) < self.points:
            raise ValueError(
                f"{self.points} points from low ({self.low}) to high ({self.high}) are too near each other"
            )
        if not self.low < self.threshold <= self.high:
            raise ValueError(
                f"threshold ({self.threshold:g}) must be above low ({self.low:g}) and at most high ({self.high:g})"
            )
        return self

    @property
    def step(self) -> float:
        """Distance of neighbouring grid values."""
        return (self.high - self.low) / (self.points - 1)

    @property
    def grid(self) -> list[float]:
        """The grid values t_1 .. t_P in rising order."""
        return [*(self.low + i * self.step for i in range(self.points - 1)), self.high]

    @property
    def names(self) -> list[str]:
        """Names of the grid values, as classes."""
        return [f"{value:g}" for value in self.grid]

    @property
    def origin(self) -> int:
        """Place on the grid of the multiple of `step` that rounding starts from (`nearest`): of zero itself, where the
        grid would pass through it.
        """
        return -math.floor(self.low / self.step + 1e-9)

    def nearest(self, value: float) -> int:
        """Index of the nearest grid value, 0 or points - 1 beyond the ends.

        A value halfway between two goes where NumPy rounds it (to the even multiple of the step): on the grid -3, -2,
        ... 3 this is the rounding of the literature's seven-class accuracy.
        """
        place = round(value / self.step - (self.low / self.step + self.origin)) + self.origin
        return min(max(place, 0), self.points - 1)
