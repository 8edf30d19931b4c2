"""Section `tuning`: how many settings of each method are tried on validation, and which."""

from typing import Any

from pydantic import Field

from equimodal.settings.base import Settings
from equimodal.settings.datasets import Name
from equimodal.settings.training import Seed

Values = list[Any]


class TuningSettings(Settings):
    """The same budget for every method: results/tuning/DATASET_METHOD.json."""

    trials: int = Field(4, ge=1, le=1000, description="runs of each method; the first is as params.yaml sets it")
    seed: Seed = Field(100, description="of the trials; none of the studies', so that no result was tuned on itself")
    search: dict[Name, dict[str, Values]] = Field(
        {}, description="method -> setting -> values to choose from; a variant without an entry has its base's"
    )
