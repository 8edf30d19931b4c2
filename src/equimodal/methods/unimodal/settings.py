"""Settings of a model of one modality."""

from typing import ClassVar

from pydantic import Field

from equimodal.settings.method import BOTH_TASKS, MethodSettings


class UnimodalSettings(MethodSettings):
    """One modality alone: encoder and linear classifier."""

    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    modality: str = Field(description="which one")
