"""Settings of modality dropout."""

from typing import ClassVar

from pydantic import Field

from equimodal.settings.method import BOTH_TASKS, MethodSettings


class ModalityDropoutSettings(MethodSettings):
    """Joint training in which a sample's features of one modality are dropped before fusion now and then."""

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    share: float = Field(0.2, ge=0, lt=1, description="share of the samples of a batch that lose one modality")
