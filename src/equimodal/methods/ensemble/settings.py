"""Settings of the mean prediction of models of one modality."""

from typing import ClassVar

from equimodal.settings.method import BOTH_TASKS, MethodSettings


class EnsembleSettings(MethodSettings):
    """Mean probability of models that were trained alone; nothing is trained, nothing to set."""

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS
