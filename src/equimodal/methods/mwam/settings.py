"""Settings of MWAM."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from equimodal.settings.method import BOTH_TASKS, MethodSettings


class MWAMSettings(MethodSettings):
    """Multimodal weight allocation (ICLR 2026): gradients of encoders whose pictures are all low frequency are made
    smaller.

    methods.md section 20.
    """

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    slope: float = Field(
        10.0, ge=0, description="of the weight 1.5 - sigmoid(slope (ratio / mean - 1)); 0 is joint training"
    )
    momentum: float = Field(0.5, ge=0, lt=1, description="of the running mean of each modality's ratio")
    patch: int = Field(8, ge=2, le=1024, description="side of the patches that are transformed, in pixels of the input")
    corner: int = Field(2, ge=1, le=512, description="side of their low and of their high corner, in coefficients")
    variant: Literal["paper", "released"] = Field(
        "paper",
        description="released: sums over patches instead of means, running means that begin at 0, and only the gradient"
        " of each encoder's first layer",
    )

    @model_validator(mode="after")
    def _corners_apart(self) -> Self:
        if 2 * self.corner > self.patch:
            raise ValueError(f"corner ({self.corner}) must be at most half of patch ({self.patch})")
        return self
