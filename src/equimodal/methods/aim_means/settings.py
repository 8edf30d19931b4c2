"""Settings of aim-means."""

from pydantic import Field

from equimodal.methods.deep_supervision.settings import DeepSupervisionSettings


class AIMMeansSettings(DeepSupervisionSettings):
    """joint-uni with AIM's losses on the last blocks, the prototypes being running class means.

    aim.md section 13.
    """

    mean_decay: float = Field(
        0.9, ge=0, lt=1, description="share of a class's mean that is left after each further sample of the class"
    )
    variance_decay: float = Field(
        0.95, ge=0, lt=1, description="share of the within-class variance that is left after each further batch"
    )
