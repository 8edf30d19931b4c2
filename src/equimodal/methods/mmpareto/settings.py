"""Settings of MMPareto."""

from typing import ClassVar, Literal

from pydantic import Field

from equimodal.methods.joint_uni.settings import JointUniSettings


class MMParetoSettings(JointUniSettings):
    """MMPareto (ICML 2024): where an encoder's gradients of fused and own loss conflict, their shortest mixture.

    methods.md section 21.1.
    """

    least_modalities: ClassVar[int] = 2

    weight: float = Field(1.0, ge=0, description="weight of each modality's own loss; 0 is joint training bit for bit")
    gamma: float = Field(1.5, gt=0, description="factor of the encoders' gradients, which the paper raises above 1")
    variant: Literal["paper", "released"] = Field(
        "paper", description="what keeps the length of the summed gradient: an encoder, in released each tensor of it"
    )
