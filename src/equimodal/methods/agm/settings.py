"""Settings of AGM."""

from typing import ClassVar, Literal

from pydantic import Field

from equimodal.settings.method import WindowSettings


class AGMSettings(WindowSettings):
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
    variant: Literal["paper", "released"] = Field(
        "paper", description="released: after the window the last kappa goes on scaling"
    )
