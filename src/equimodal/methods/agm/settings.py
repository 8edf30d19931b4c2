"""Settings of AGM."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from equimodal.settings.method import MethodSettings


class AGMSettings(MethodSettings):
    """Adaptive gradient modulation (ICCV 2023): gradients of each modality's Shapley share of the logits are scaled.

    methods.md section 10.
    """

    least_modalities: ClassVar[int] = 2

    alpha: float = Field(
        1.5, ge=0, description="strength: kappa = exp(alpha min(R - r, cap)) scales the gradient; 0 is joint training"
    )
    cap: float | None = Field(
        None, gt=0, description="upper limit of R - r; null: 10 for two modalities, 7 for more, the authors'"
    )
    head_limit: float | None = Field(
        1.0,
        gt=0,
        description="when a gradient of the fusion head exceeds it, all gradients are clipped to a norm of 1; null:"
        " never",
    )
    window: tuple[float, float] = Field((0.0, 1.0), description="from and to, as shares of the run's epochs")
    variant: Literal["paper", "released"] = Field(
        "paper", description="released: after the window the last kappa goes on scaling"
    )

    @model_validator(mode="after")
    def _window_in_order(self) -> Self:
        first, last = self.window
        if not 0 <= first < last <= 1:
            raise ValueError(
                f"window ({first:g}, {last:g}) must be two shares of the run, the smaller first, from 0 to 1"
            )
        return self
