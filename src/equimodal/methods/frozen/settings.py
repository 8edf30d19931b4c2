"""Settings of a fusion head on frozen encoders."""

from typing import ClassVar

from equimodal.settings.method import BOTH_TASKS, MethodSettings


class FrozenSettings(MethodSettings):
    """A fusion head trained on encoders that were trained alone and stay as they are; nothing to set."""

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS
