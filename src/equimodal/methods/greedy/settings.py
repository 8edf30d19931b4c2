"""Settings of Greedy."""

from typing import ClassVar, Literal

from pydantic import Field

from equimodal.settings.base import EPOCHS
from equimodal.settings.method import BOTH_TASKS, MethodSettings


class GreedySettings(MethodSettings):
    """Conditional learning speeds (ICML 2022): a lagging branch is trained for some steps with its gates held constant.

    methods.md section 8.
    """

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    balancing: Literal["guided", "random", "none"] = Field(
        "guided",
        description="when gates are held: guided by the speeds, at random (the authors' ablation), never",
    )
    epsilon: float = Field(
        0.01, ge=0, description="of guided: difference of the log10 speeds above which re-balancing steps follow"
    )
    held_steps: int = Field(5, ge=1, le=1_000_000, description="of guided: re-balancing steps in a row")
    first_epoch: int = Field(
        2,
        ge=0,
        le=EPOCHS,
        description="epoch, counted from 0, from which steps are re-balanced; before it speeds are measured only",
    )
    units: int = Field(
        3,
        ge=1,
        le=1000,
        description="gating units (MMTM), one after each of the last so many depths; at most all depths",
    )
    ratio: float = Field(
        4.0, ge=0.01, description="hidden width of a unit is 2 / ratio times the channels of all modalities"
    )
    variant: Literal["paper", "released"] = Field(
        "paper",
        description="released: every modality's mean gates are the first's, and re-balancing steps count in them",
    )
