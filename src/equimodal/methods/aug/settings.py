"""Settings of AUG."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from equimodal.settings.base import EPOCHS, Listed
from equimodal.settings.method import MethodSettings, miscounted


class AUGSettings(MethodSettings):
    """Sustained boosting (arXiv 2502.20120): the weakest modality gets further classifiers while training goes on.

    methods.md section 14.
    """

    least_modalities: ClassVar[int] = 2

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "released": {
            "lambda_residual": 0.5,
            "residual": "merged",
            "step": "alternate",
            "score": "ratio",
            "check_first": True,
            "added": "frozen_random",
            "merge": [0.4, 0.6],
        },
    }

    lambda_residual: float = Field(
        0.5,
        ge=0,
        description="how much of what earlier classifiers know is taken from the newest one's label; paper: 0.1 to 1",
    )
    width: int | None = Field(
        None,
        ge=1,
        le=65_536,
        description="outputs of Layer1; null: half of the widest feature, as the paper's 256 of 512",
    )
    shared_head: Literal["all", "modality", "none"] = Field(
        "all", description="Layer2: one for all classifiers of all modalities, one per modality, or one per classifier"
    )
    interval: int | None = Field(
        None,
        ge=1,
        le=EPOCHS,
        description="epochs between two checks (t_N); null: a tenth of the run, as the authors' 20 of 200, at least 1",
    )
    check_first: bool = Field(False, description="check after the first epoch, too")
    score: Literal["difference", "ratio"] = Field(
        "difference", description="how the modalities' mean true-class probabilities are compared; ratio: released"
    )
    sigma: float = Field(1.0, gt=0, description="factor of the weaker score; ratio: the ratio that counts as balanced")
    tau: float = Field(
        0.01, ge=0, description="gap from which a classifier is added, in probability (ratio: of the ratio)"
    )
    threshold: float = Field(
        0.4,
        gt=0,
        description="ratio with three or more modalities: score over the sum of the others, below which one is added",
    )
    residual: Literal["each", "merged"] = Field(
        "each", description="what earlier classifiers know: sum of their softmaxes, or softmax of their sum (released)"
    )
    step: Literal["together", "alternate"] = Field(
        "together", description="one step on the sum of the modalities' losses, or one per modality (released)"
    )
    added: Literal["trained", "frozen_random"] = Field(
        "trained", description="frozen_random: the released code's added layers, which no optimizer knows"
    )
    merge: Listed[tuple[Annotated[float, Field(gt=0)], ...]] | None = Field(
        None,
        description="weights of the modalities' logits in predictions, in the model's order of modalities; null: equal",
    )

    def refusal(self, name: str, dataset: str, modalities: Sequence[str], task: str) -> str | None:
        return miscounted(f"{name}.merge", self.merge, modalities) or super().refusal(name, dataset, modalities, task)
