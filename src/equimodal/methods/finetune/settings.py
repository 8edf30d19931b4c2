"""Settings of joint training from trained encoders."""

from typing import ClassVar

from equimodal.settings.method import BOTH_TASKS, MethodSettings


class FinetuneSettings(MethodSettings):
    """Joint training from encoders that were trained alone; nothing to set."""

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS
