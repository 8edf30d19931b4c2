"""Settings of joint training with unimodal losses."""

from typing import ClassVar

from pydantic import Field

from equimodal.settings.method import BOTH_TASKS, MethodSettings


class JointUniSettings(MethodSettings):
    """Cross entropy on the fused logits and on each modality's readout (methods.md 4.3)."""

    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    weight: float = Field(1.0, ge=0, description="weight of each modality's cross entropy; 0 is joint training")
