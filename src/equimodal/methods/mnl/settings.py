"""Settings of MNL."""

from typing import ClassVar

from pydantic import Field

from equimodal.settings.method import WindowSettings


class MNLSettings(WindowSettings):
    """Multimodal negative learning (NeurIPS 2025): the strongest modality teaches weaker ones what not to predict.

    methods.md section 18. The window is that of the teaching.
    """

    least_modalities: ClassVar[int] = 2

    weight: float = Field(1.0, ge=0, description="weight of each modality's cross entropy")
    guidance: float = Field(
        1.0,
        ge=0,
        description="weight of the negative learning; 0 is joint-uni, with weight 0 too it is joint training",
    )
    non_target: float = Field(
        0.7, ge=0, description="w: weight of the classes other than the label's in the negative learning"
    )
