"""Settings of G-Blending."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from equimodal.settings.base import EPOCHS, Listed
from equimodal.settings.method import BOTH_TASKS, MethodSettings


class GBlendingSettings(MethodSettings):
    """Gradient blending (CVPR 2020): losses of each modality and the fused head, weighted by how well each generalises.

    methods.md section 6.
    """

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    mode: Literal["online", "offline"] = Field(
        "online", description="online: weights are estimated anew every super-epoch; offline: once, or given"
    )
    super_epoch: int = Field(10, ge=1, le=EPOCHS, description="of mode online: epochs from one estimate to the next")
    held_out: float = Field(
        0.1, gt=0, lt=1, description="share of the training split that is kept apart to estimate the weights"
    )
    least_overfitting: float = Field(
        1e-3, gt=0, description="lower limit of the change of overfitting |dO|, whose square divides; units of the loss"
    )
    weights: Listed[tuple[Annotated[float, Field(ge=0)], ...]] | None = Field(
        None,
        description="of mode offline: of the modalities' losses in the model's order, then of the fused one, as they"
        " are; null: one estimate over the whole run",
    )

    @model_validator(mode="after")
    def _weights_are_offline(self) -> Self:
        if self.weights is not None and self.mode == "online":
            raise ValueError("weights are given in mode offline; online they are estimated: set mode, or weights: null")
        if self.weights is not None and not any(self.weights):
            raise ValueError("weights are all 0: nothing would be trained")
        return self

    def refusal(self, name: str, dataset: str, modalities: Sequence[str], task: str) -> str | None:
        if self.weights is not None and len(self.weights) != len(modalities) + 1:
            return (
                f"methods.{name}.weights has {len(self.weights)} weights for {len(modalities)} modalities"
                f" ({', '.join(modalities)}) and the fused head: one each, in that order, or null"
            )
        return super().refusal(name, dataset, modalities, task)
