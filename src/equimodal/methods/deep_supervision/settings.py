"""Settings that deep-uni and aim-means share."""

from pydantic import Field

from equimodal.methods.aim.settings import PDMSettings
from equimodal.methods.joint_uni.settings import JointUniSettings


class DeepSupervisionSettings(JointUniSettings):
    """The unimodal losses of joint-uni, and losses on the last blocks (aim.md section 13)."""

    weight: float = Field(1.0, ge=0, description="weight of each modality's cross entropy at the head, as joint-uni's")
    lambda_deep: float = Field(
        1.0, ge=0, description="lambda, weight of the losses on the last blocks; 0 is joint-uni bit for bit"
    )
    depths: int = Field(
        2, ge=1, le=1000, description="how many blocks of each encoder have a loss, counted from its last one"
    )
    rho: bool = Field(
        True, description="M rho_d^m weighs the blocks of a depth (Eq. 12, no auxiliary blocks); false: weights of 1"
    )
    dam: bool = Field(False, description="alpha_d of Eq. 14 weighs the depths; false: alpha_d = 1")
    pam: bool = Field(
        False, description="AIM's auxiliary blocks at these depths: their losses beside the originals', rho apart"
    )
    pdm: PDMSettings = PDMSettings()
