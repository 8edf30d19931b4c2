"""What the tables and figures of a paper are drawn from."""

from dataclasses import dataclass, field
from typing import Any

from equimodal.report.curves import Curves
from equimodal.report.names import dataset_name, measured_on
from equimodal.report.published import Numbers, printed
from equimodal.report.result import Result
from equimodal.report.rules import SAMPLE_NOTE
from equimodal.report.tables.described import numbers

PAPER = "aim"  # in published.yaml: whose numbers stand beside ours
Key = tuple[str, str]  # (dataset, method)


@dataclass(frozen=True)
class Material:
    """A study's results and curves by (dataset, method); pairs that a dataset refuses are missing.

    Args:
        name: of the study.
        datasets, methods: in the study's order; every dataset has a result.
        refused: why pairs are missing, in lines.
        fits: logs of the prototypes stage by pair, one per seed.
    """

    name: str
    datasets: list[str]
    methods: list[str]
    results: dict[Key, Result]
    curves: dict[Key, Curves]
    refused: list[str] = field(default_factory=list)
    fits: dict[Key, list[dict[str, Any]]] = field(default_factory=dict)

    def on(self, dataset: str) -> dict[str, Result]:
        """Results of one dataset by method, in the study's order."""
        return {method: self.results[dataset, method] for method in self.methods if (dataset, method) in self.results}

    def titled(self, dataset: str) -> str:
        """The dataset as columns and panels name it, its generated sample so called."""
        return measured_on(next(iter(self.on(dataset).values())))

    @property
    def sampled(self) -> list[str]:
        """Datasets whose numbers are of generated samples, as they are displayed."""
        return [dataset_name(d) for d in self.datasets if any(r.source == "sample" for r in self.on(d).values())]

    @property
    def warning(self) -> str | None:
        """The line beside numbers of generated samples, or None."""
        return f"{', '.join(self.sampled)}, {SAMPLE_NOTE}." if self.sampled else None

    @property
    def seeds(self) -> str:
        """Which all results share: 'seeds 0, 1, 2'."""
        seeds = next(iter(self.results.values())).seeds
        return f"seed{'s' if len(seeds) > 1 else ''} {numbers(seeds)}"

    def printed(self, dataset: str, method: str) -> Numbers | None:
        """What AIM's paper prints for the pair; nothing for a regression, whose task is another."""
        if any(result.task == "regression" for result in self.on(dataset).values()):
            return None
        return next((found.numbers for found in printed(dataset, method) if found.source == PAPER), None)
