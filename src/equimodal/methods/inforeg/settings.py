"""Settings of InfoReg."""

from typing import ClassVar, Literal

from pydantic import Field

from equimodal.methods.joint_uni.settings import JointUniSettings


class InfoRegSettings(JointUniSettings):
    """Information acquisition regulation (CVPR 2025): early on, encoders that lead are held near the epoch's start.

    methods.md section 21.2.
    """

    least_modalities: ClassVar[int] = 2

    weight: float = Field(
        0.0, ge=0, description="weight of each modality's own loss; 1: the paper's InfoReg*, and its released code"
    )
    beta: float = Field(0.9, ge=0, description="how much a lead D adds to the pull: exp(beta tanh D)")
    threshold: float = Field(
        0.04,
        ge=0,
        le=1,
        description="K: relative growth of the Fisher trace, from epoch to epoch, above which leading encoders are held"
        " back; 1: never, which is joint training (with weight 0) bit for bit",
    )
    variant: Literal["paper", "released"] = Field(
        "paper",
        description="released: growth of the mean trace of ten epochs, leads in sums of probabilities, and a fixed"
        " factor, 0.95 for the first modality and 0.1 for others, in the place of beta",
    )
