"""Settings of Shapley-guided alternating training."""

from pydantic import Field

from equimodal.methods.mla.settings import MLASettings
from equimodal.settings.base import EPOCHS


class ShapleyAlternatingSettings(MLASettings):
    """Shapley-guided alternation (arXiv 2506.00030): MLA, in which the modality that contributes least is trained next.

    methods.md section 17.
    """

    interval: int = Field(
        1, ge=1, le=EPOCHS, description="epochs that a modality is trained for before the next one is chosen"
    )
    held_out: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the training samples that are kept out of training to measure contributions on; 0: they"
        " are measured on the training samples",
    )
    memory: float = Field(
        0.0, ge=0, description="weight of the loss that draws features towards the other modalities' class memories"
    )
    memory_momentum: float = Field(0.9, ge=0, lt=1, description="what a class memory keeps of itself at a step")
