"""Settings of DGL."""

from typing import ClassVar

from pydantic import Field

from equimodal.settings.method import BOTH_TASKS, MethodSettings


class DGLSettings(MethodSettings):
    """Disentangled gradient learning (ICCV 2025): encoders learn from unimodal losses alone, the fusion head from the
    fused loss alone.

    methods.md section 21.9.
    """

    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    alpha: float = Field(4.0, gt=0, description="weight of the unimodal losses, which alone train the encoders")
