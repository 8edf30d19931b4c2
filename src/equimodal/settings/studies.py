"""Section `studies`: the tables and figures of results/paper."""

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from equimodal.settings.base import Settings
from equimodal.settings.training import Seed

TableKind = Literal["accuracy", "unimodal", "leaderboard"]
FigureKind = Literal[
    "modalities", "prototypes", "blocks", "alpha", "start-epochs", "convergence", "tradeoff", "critical-difference"
]
# Figures of what only a method with prototypes measures.
OF_PROTOTYPES = ("prototypes", "blocks")


class PaperStudySettings(Settings):
    """A table or a figure, results/paper/NAME.*, and the runs that it is drawn from."""

    show: TableKind | FigureKind = Field(
        description="tables: accuracy (methods x datasets), unimodal (each modality inside each model), leaderboard (by"
        " mean rank, with cost); figures: modalities (their accuracy over epochs), prototypes (cosines by depth),"
        " blocks (s, s~ over epochs), alpha (by depth), start-epochs (accuracy over E), convergence (accuracy over"
        " epochs, with FLOPs), tradeoff (accuracy against FLOPs), critical-difference (ranks over datasets)"
    )
    datasets: list[str] = Field(
        min_length=1, description="names of `datasets`; a method that one refuses is left out there"
    )
    methods: list[str] = Field(min_length=1, description="names of `methods`, in the order of the rows")
    seeds: list[Seed] | None = Field(None, min_length=1, max_length=1000, description="null: those of `study`")

    @property
    def is_table(self) -> bool:
        """Whether it is a table, not a figure."""
        return self.show in get_args(TableKind)

    @property
    def endings(self) -> tuple[str, ...]:
        """Of its files."""
        return ("md", "csv", "tex", "html") if self.is_table else ("pdf", "svg", "png")

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        for name in ("datasets", "methods", "seeds"):
            values = getattr(self, name) or []
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names something twice")
        return self
