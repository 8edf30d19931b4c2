"""Settings of MIE."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from equimodal.settings.base import EPOCHS, Listed
from equimodal.settings.method import BOTH_TASKS, MethodSettings

Outputs = Annotated[int, Field(ge=1, le=65_536)]


class MIESettings(MethodSettings):
    """Alternating phases (IJCAI 2025, IGM): flat minima by SAM, gradients filtered by the other modalities' covariance.

    methods.md section 15.
    """

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    cycles: int = Field(
        6,
        ge=1,
        le=EPOCHS,
        description="rounds of one phase a modality; fewer where a phase would be shorter than an epoch",
    )
    lengths: Listed[tuple[Annotated[float, Field(gt=0)], ...]] | None = Field(
        None, description="lengths of a round's phases in the model's order of modalities, by ratio; null: equal"
    )
    hidden: Listed[tuple[Outputs, Outputs]] | None = Field(
        None,
        description="outputs of the first two layers of each modality's head; null: a half and an eighth of the widest"
        " feature, as the authors' 256 and 64 of 512, the second at least the model's outputs",
    )
    mixup: bool = Field(True, description="mix pairs of features and their losses, by a share drawn evenly from 0 to 1")
    radius: float = Field(
        0.05, ge=0, description="length of the step uphill of SAM, over all trained weights together; 0: no SAM"
    )
    perturbed: float = Field(
        0.3, ge=0, le=1, description="weight of the loss after the step uphill, the other loss has the rest; 0: no SAM"
    )
    damping: float = Field(
        0.4,
        ge=0,
        description="strength of the filter: the direction that other modalities use most keeps exp(-damping) of the"
        " gradient; 0: none",
    )
    variant: Literal["paper", "released"] = Field(
        "paper", description="released: no step uphill, in its place the same outputs on labels that are not mixed"
    )

    @property
    def climbs(self) -> bool:
        """Whether a step uphill is taken."""
        return self.variant == "paper" and self.radius > 0 and self.perturbed > 0

    def refusal(self, name: str, dataset: str, modalities: Sequence[str], task: str) -> str | None:
        if self.lengths is not None and len(self.lengths) != len(modalities):
            return (
                f"methods.{name}.lengths has {len(self.lengths)} phases for {len(modalities)} modalities"
                f" ({', '.join(modalities)}): one each, in that order, or null"
            )
        return super().refusal(name, dataset, modalities, task)
