"""Settings of MLA."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from equimodal.settings.base import Listed
from equimodal.settings.method import BOTH_TASKS, MethodSettings, miscounted


class MLASettings(MethodSettings):
    """Alternating unimodal adaptation (CVPR 2024): one modality at a time trains its encoder and a head they share.

    methods.md section 11.
    """

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    projection: Literal["auto", "scalar", "elementwise", "none"] = Field(
        "auto",
        description="of the head's gradient: scalar as in the paper, elementwise as the released code writes the"
        " division, none; auto: scalar, in variant released none, because its code never runs",
    )
    project_on: Literal["current", "previous"] = Field(
        "current",
        description="whose mean feature the projection takes up before a step: its own modality's, or the"
        " modality's of the step before",
    )
    frobenius: bool = Field(
        False, description="divide the projector by its Frobenius norm after every update, as the released code would"
    )
    prediction: Literal["auto", "entropy", "entropy_batch", "fixed"] = Field(
        "auto",
        description="weights of the modalities' logits: by entropy for each sample, by entropy over the whole batch"
        " (released), or `merge`; auto: entropy, in variant released entropy_batch",
    )
    merge: Listed[tuple[Annotated[float, Field(gt=0)], ...]] | None = Field(
        None,
        description="of prediction fixed: weights of the modalities' logits in the model's order; null: equal",
    )
    width: int | None = Field(
        None,
        ge=1,
        le=65_536,
        description="inputs of the shared head; null: the widest feature; narrower or wider features are mapped to it"
        " by a linear layer each",
    )
    variant: Literal["paper", "released"] = Field(
        "paper", description="released: what the choices `auto` stand for: no projection, weights of a whole batch"
    )

    @property
    def projects(self) -> Literal["scalar", "elementwise", "none"]:
        """The projection, with `auto` resolved."""
        if self.projection == "auto":
            return "none" if self.variant == "released" else "scalar"
        return self.projection

    @property
    def predicts(self) -> Literal["entropy", "entropy_batch", "fixed"]:
        """The rule of prediction, with `auto` resolved."""
        if self.prediction == "auto":
            return "entropy_batch" if self.variant == "released" else "entropy"
        return self.prediction

    def refusal(self, name: str, dataset: str, modalities: Sequence[str], task: str) -> str | None:
        if task == "regression" and self.predicts != "fixed":
            return (
                f"method '{name}' weighs predictions by their entropy, which needs classes; datasets.{dataset}.task is"
                f" regression: set methods.{name}.prediction to fixed there"
            )
        return miscounted(f"{name}.merge", self.merge, modalities) or super().refusal(name, dataset, modalities, task)
