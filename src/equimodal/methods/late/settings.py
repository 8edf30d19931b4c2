"""Settings of late fusion."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from equimodal.settings.base import Listed
from equimodal.settings.method import BOTH_TASKS, MethodSettings, miscounted


class LateSettings(MethodSettings):
    """Late fusion (SimBaMM, arXiv 2512.22991): a classifier and a loss of its own for each modality; weights tuned on
    validation sum their logits.

    methods.md 21.10.
    """

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    loss_weights: Listed[tuple[Annotated[float, Field(gt=0)], ...]] | None = Field(
        None, description="weights of the modalities' losses, in the model's order of modalities; null: 1 each"
    )
    tuned: bool = Field(
        True, description="choose the weights of the logits on validation after every epoch; false: equal ones"
    )
    grid: int = Field(20, ge=1, le=1000, description="weights that are tried: 0, 1/grid, ..., 1")

    def refusal(self, name: str, dataset: str, modalities: Sequence[str], task: str) -> str | None:
        return miscounted(f"{name}.loss_weights", self.loss_weights, modalities) or super().refusal(
            name, dataset, modalities, task
        )
