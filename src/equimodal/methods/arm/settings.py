"""Settings of ARM."""

from typing import ClassVar, Literal

from pydantic import Field

from equimodal.methods.joint_uni.settings import JointUniSettings


class ARMSettings(JointUniSettings):
    """Asymmetric reinforcing (AAAI 2025): features that say less of the fused one are amplified before fusion.

    methods.md section 16.
    """

    least_modalities: ClassVar[int] = 2

    weight: float = Field(
        0.0, ge=0, description="weight of each modality's own loss, by the shared classifier; 0: as released"
    )
    bins: int = Field(30, ge=2, le=1000, description="of each histogram of the mutual information")
    conditional_bins: int = Field(
        2, ge=2, le=30, description="the same of the one given the other modalities; its cells are their power M + 1"
    )
    momentum: float = Field(
        0.9, ge=0, lt=1, description="of the running means over training batches; 0: the last batch's alone"
    )
    limit: float = Field(
        10.0,
        ge=1,
        description="a feature is scaled by no more than this, and no less than 1/limit; 1: never, which is joint"
        " training of this method's head",
    )
    width: int | None = Field(
        None,
        ge=1,
        le=65_536,
        description="d of the fused feature; features of another width are mapped to it; null: the widest",
    )
    variant: Literal["paper", "released"] = Field(
        "paper", description="released: each modality's probability of the true class is taken for the others'"
    )
