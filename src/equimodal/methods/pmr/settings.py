"""Settings of PMR."""

from typing import ClassVar, Literal

from pydantic import Field

from equimodal.settings.base import Listed
from equimodal.settings.method import WindowSettings


class PMRSettings(WindowSettings):
    """Prototypical modal rebalance (CVPR 2023): lagging modalities are drawn towards their classes' mean features.

    methods.md section 9.
    """

    least_modalities: ClassVar[int] = 2

    alpha: float = Field(
        2.0,
        ge=0,
        description="weight of the prototypical cross entropy of lagging modalities; 0, and entropy_weight 0, is joint"
        " training",
    )
    coefficients: Literal["auto", "clip", "binary"] = Field(
        "auto",
        description="clip: by how far a modality lags, at most 1; binary: 1 for the weakest; auto: clip, released:"
        " binary",
    )
    entropy_weight: float | None = Field(
        None,
        ge=0,
        description="mu, weight of the leading modalities' prototypical entropy; null: 1, released: 0, whose code"
        " lacks it",
    )
    entropy_share: float = Field(
        0.1, ge=0, le=1, description="first share of the run's epochs in which the entropy counts; not published"
    )
    window: Listed[tuple[float, float]] = Field(
        (0.0, 0.538), description="from and to, as shares of the run's epochs; the authors' 0 to 70 of 130 epochs"
    )
    prototype_momentum: float = Field(
        0.2, ge=0, lt=1, description="share of the old prototypes that is kept at the update before an epoch"
    )
    variant: Literal["paper", "released"] = Field(
        "paper",
        description="released: binary coefficients without entropy, equal scores stimulate the first modality, both"
        " ends of the window",
    )

    @property
    def binary(self) -> bool:
        """Whether coefficients are 0 or 1."""
        return self.coefficients == "binary" or (self.coefficients == "auto" and self.variant == "released")

    @property
    def mu(self) -> float:
        """Weight of the entropy term."""
        return float(self.variant == "paper") if self.entropy_weight is None else self.entropy_weight
