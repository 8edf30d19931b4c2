"""Settings of ReconBoost."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from equimodal.settings.base import EPOCHS
from equimodal.settings.method import MethodSettings


class ReconBoostSettings(MethodSettings):
    """ReconBoost (ICML 2024): modalities are boosted in turn from trained ones, each on what the others leave open.

    methods.md section 21.3.
    """

    least_modalities: ClassVar[int] = 2

    stage_epochs: int | None = Field(
        None,
        ge=1,
        le=EPOCHS,
        description="epochs of a modality's turn, in which it is trained alone; null: 4, the authors', fewer in a run"
        " that is too short for three rounds of all modalities",
    )
    rectify_epochs: int | None = Field(
        None,
        ge=0,
        le=EPOCHS,
        description="epochs of joint training of their sum after each turn; null: as stage_epochs' null",
    )
    label_weight: float = Field(5.0, gt=0, description="w1: weight of the label in a turn's loss")
    known_weight: float = Field(
        1.0, ge=0, description="w2: weight of what the other modalities know already, taken from the label; at most w1"
    )
    agreement: float = Field(
        0.5, ge=0, description="weight of the squared distance from the others' probabilities, from the second turn on"
    )
    variant: Literal["paper", "released"] = Field(
        "paper", description="released: without agreement, whose gradient the code cuts off"
    )

    @model_validator(mode="after")
    def _label_prevails(self) -> Self:
        if self.known_weight > self.label_weight:
            raise ValueError(
                f"known_weight ({self.known_weight:g}) must not be above label_weight ({self.label_weight:g}): what the"
                " others are sure of would be rewarded when it is wrong, without bound"
            )
        return self
