"""Settings of a model of one modality."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from equimodal.settings.method import BOTH_TASKS, MethodSettings


class UnimodalSettings(MethodSettings):
    """One modality alone: encoder and linear classifier."""

    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    modality: str = Field(description="which one")

    def refusal(self, name: str, dataset: str, modalities: Sequence[str], task: str) -> str | None:
        if self.modality not in modalities:
            has = ", ".join(modalities)
            return f"method '{name}' reads modality '{self.modality}' (methods.{name}.modality); {dataset} has: {has}"
        return super().refusal(name, dataset, modalities, task)
