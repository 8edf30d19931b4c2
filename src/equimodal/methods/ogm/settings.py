"""Settings of OGM and OGM-GE."""

from typing import ClassVar, Literal

from pydantic import Field

from equimodal.settings.base import Listed
from equimodal.settings.method import WindowSettings


class OGMSettings(WindowSettings):
    """On-the-fly gradient modulation (CVPR 2022): the gradients of encoders that lead are made smaller.

    methods.md section 7.
    """

    least_modalities: ClassVar[int] = 2

    alpha: float = Field(
        0.8,
        ge=0,
        description="strength: k = 1 - tanh(alpha rho) for a modality with rho > 1; 0 is joint training (without ge)",
    )
    ge: bool = Field(
        False, description="generalisation enhancement: noise as wide as each gradient on the encoders' gradients"
    )
    window: Listed[tuple[float, float]] = Field(
        (0.0, 0.5), description="from and to, as shares of the run's epochs; the authors' 0 to 50 of 100 epochs"
    )
    param_filter: Literal["auto", "conv4d", "matrices", "all"] = Field(
        "auto",
        description="which gradients of an encoder: 4-D (kernels), 2 or more dimensions, all; auto: conv4d where there"
        " are convolutions, else matrices",
    )
    variant: Literal["paper", "released"] = Field(
        "paper", description="released: equal scores damp the first modality, conv4d only, both ends of the window"
    )
