"""Settings of joint training."""

from typing import ClassVar

from equimodal.settings.method import BOTH_TASKS, MethodSettings


class JointSettings(MethodSettings):
    """Cross entropy on the fused logits; nothing to set."""

    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS
