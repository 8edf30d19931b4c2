"""Result and cost files of several methods and datasets, as the tables look at them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from equimodal.errors import UserError
from equimodal.report.cost_file import Cost
from equimodal.report.result import Result

BASELINES = ("joint", "joint-uni")
Key = tuple[str, str]  # (dataset, method)
File = TypeVar("File", Result, Cost)


@dataclass(frozen=True)
class Collection:
    """Results and costs by (dataset, method); any may be missing.

    Args:
        results, costs: what tables show.
        everything: all results that were read, shown or not: what comparisons are made with and corrected for.
    """

    results: dict[Key, Result]
    costs: dict[Key, Cost]
    everything: dict[Key, Result]

    @classmethod
    def of(cls, results: Iterable[Result], costs: Iterable[Cost] = ()) -> "Collection":
        """From files in any order.

        Raises:
            UserError: none at all, or two of the same dataset and method.
        """
        by_result: dict[Key, Result] = {}
        by_cost: dict[Key, Cost] = {}
        for result in results:
            _add(by_result, (result.dataset, result.method.name), result)
        for cost in costs:
            _add(by_cost, (cost.dataset, cost.method), cost)
        if not by_result and not by_cost:
            raise UserError("no result files: name some, such as results/cremad_aim.json")
        return cls(by_result, by_cost, by_result)

    def only(self, methods: Iterable[str]) -> "Collection":
        """The rows of some methods; their comparisons, and what those are corrected for, stay as they are.

        Raises:
            UserError: a method without any file.
        """
        names = set(methods)
        unknown = sorted(names - set(self.methods))
        if unknown:
            raise UserError(f"no file of method {', '.join(unknown)}; there are: {', '.join(self.methods)}")
        return replace(
            self,
            results={key: result for key, result in self.results.items() if key[1] in names},
            costs={key: cost for key, cost in self.costs.items() if key[1] in names},
        )

    @property
    def datasets(self) -> list[str]:
        """In the order of the files."""
        return list(dict.fromkeys(dataset for dataset, _ in [*self.results, *self.costs]))

    @property
    def methods(self) -> list[str]:
        """joint, joint-uni, models of one modality, then the others in the order of the files."""
        names = list(dict.fromkeys(method for _, method in [*self.results, *self.costs]))
        alone = {result.method.name for result in self.results.values() if result.method.kind == "unimodal"}
        return sorted(names, key=lambda name: BASELINES.index(name) if name in BASELINES else 2 if name in alone else 3)

    def on(self, dataset: str) -> dict[str, Result]:
        """Results of one dataset by method, in the order of `methods`."""
        return {method: self.results[dataset, method] for method in self.methods if (dataset, method) in self.results}

    def everything_on(self, dataset: str) -> dict[str, Result]:
        """All results of one dataset by method, shown or not, in the order of the files."""
        return {method: result for (on, method), result in self.everything.items() if on == dataset}

    def costs_on(self, dataset: str) -> dict[str, Cost]:
        """Costs of one dataset by method, in the order of `methods`."""
        return {method: self.costs[dataset, method] for method in self.methods if (dataset, method) in self.costs}

    def sampled(self, dataset: str) -> bool:
        """Whether the dataset's numbers are of generated clips."""
        return "sample" in {result.source for result in self.on(dataset).values()} | {
            cost.source for cost in self.costs_on(dataset).values()
        }

    def modalities(self, dataset: str) -> list[str]:
        """In the order of the first model that has them all."""
        return list(dict.fromkeys(name for result in self.on(dataset).values() for name in result.imbalance.s))


def _add(into: dict[Key, File], key: Key, found: File) -> None:
    if key in into:
        raise UserError(f"two files of {key[1]} on {key[0]}: name one of them")
    into[key] = found
