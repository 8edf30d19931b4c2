"""Settings of diagnosing and re-learning."""

from typing import ClassVar

from pydantic import Field

from equimodal.settings.base import EPOCHS
from equimodal.settings.method import MethodSettings


class DRSettings(MethodSettings):
    """Diagnosing and re-learning (ECCV 2024): encoders whose features separate training data better than others are
    pulled back to their start.

    methods.md section 12.
    """

    least_modalities: ClassVar[int] = 2

    lam: float = Field(3.0, ge=0, description="lambda, strength: w = tanh(lambda |gap of purity|); 0 is joint training")
    interval: int | None = Field(
        None,
        ge=1,
        le=EPOCHS,
        description="epochs between diagnoses; null: 2/9 of the run, as the authors' 20 of 90 epochs",
    )
    times: int = Field(3, ge=0, le=EPOCHS, description="diagnoses of a run, at most; 0 is joint training")
    restarts: int = Field(10, ge=1, le=1000, description="starts of k-means, of which the tightest clusters count")
    rows: int = Field(
        10000, ge=2, le=1_000_000, description="samples of a split that are clustered, at most; drawn by the seed"
    )
