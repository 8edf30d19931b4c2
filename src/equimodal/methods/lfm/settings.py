"""Settings of LFM."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from equimodal.settings.method import BOTH_TASKS, MethodSettings

LIMITS = (0.05, 0.95)  # of a share that is learned


class LFMSettings(MethodSettings):
    """LFM (NeurIPS 2024): modalities are aligned with each other first, labels are fitted later.

    methods.md section 21.4.
    """

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    integration: Literal["learned", "heuristic", "fixed"] = Field(
        "learned",
        description="the alignment's share of the loss: learned by hypergradient; 1 - exp(-1/t) in epoch t; or fixed",
    )
    share: float = Field(
        0.8,
        ge=0,
        le=1,
        description="the first share where it is learned, every one where it is fixed; of no use to heuristic",
    )
    share_rate: float = Field(
        0.5, ge=0, description="learned: change of the share in an epoch whose steps all ask fully for it"
    )
    temperature: float = Field(
        0.1, gt=0, description="paper: divides the cosine similarities of the contrastive alignment"
    )
    variant: Literal["paper", "released"] = Field(
        "paper",
        description="released: linear heads of each modality, mean logits, Jensen-Shannon alignment of predictions",
    )

    @model_validator(mode="after")
    def _learned_within_limits(self) -> Self:
        low, high = LIMITS
        if self.integration == "learned" and not low <= self.share <= high:
            raise ValueError(
                f"share ({self.share:g}) that is learned starts from {low:g} to {high:g}: fix it, or move it"
            )
        return self
