"""Methods by their mean rank over datasets, with what their training costs."""

from dataclasses import dataclass
from typing import Any

from equimodal.report.document import Document
from equimodal.report.names import method_name
from equimodal.report.overview import percent
from equimodal.report.paper.accuracy import marks_line, notes
from equimodal.report.paper.material import Material
from equimodal.report.paper.points import cost_ratio
from equimodal.report.paper.ranks import mean_ranks
from equimodal.report.result import Result
from equimodal.report.tables.described import numbers
from equimodal.report.tables.marks import marked
from equimodal.report.tables.significance import Tests, signs, tests


@dataclass(frozen=True)
class Row:
    """A method with its results by dataset; its mean rank, among the methods that every dataset has, None if one lacks
    it; its training's FLOPs over joint's, mean over its datasets.
    """

    method: str
    results: dict[str, Result]
    rank: float | None
    cost: float


def document(material: Material) -> Document:
    """results/paper/STUDY.*: best mean rank first; methods that a dataset refuses come last, without a rank."""
    rows = ranked(material)
    by_dataset = {dataset: tests(material.on(dataset)) for dataset in material.datasets}
    spread = "" if "," not in material.seeds else ", mean ± standard deviation"
    lines = [
        f"Test accuracy, percent{spread}, {material.seeds}; epoch chosen on validation.",
        "rank: by mean accuracy, mean over the datasets, 1 the best. FLOPs: of a training step, times joint's.",
        *marks_line(by_dataset),
        *notes(material, quoted=False),
    ]
    table = _heads(material), _cells(material, rows, by_dataset)
    return Document(f"Leaderboard ({material.name})", lines, material.warning, [("Methods", table)], _records(rows))


def ranked(material: Material) -> list[Row]:
    """The rows, in the table's order."""
    complete = [m for m in material.methods if all((d, m) in material.results for d in material.datasets)]
    accuracies = [
        [material.results[dataset, method].selection.val.accuracy.mean for method in complete]
        for dataset in material.datasets
    ]
    ranks = dict(zip(complete, map(float, mean_ranks(accuracies)), strict=True)) if complete else {}
    rows = []
    for method in material.methods:
        own = {d: material.results[d, method] for d in material.datasets if (d, method) in material.results}
        cost = sum(map(cost_ratio, own.values())) / len(own)
        rows.append(Row(method, own, ranks.get(method), cost))
    return sorted(rows, key=lambda row: (row.rank is None, row.rank or 0.0))


def _heads(material: Material) -> list[str]:
    return ["method", "rank", *(material.titled(dataset) for dataset in material.datasets), "FLOPs"]


def _cells(material: Material, rows: list[Row], by_dataset: dict[str, Tests]) -> list[list[str]]:
    columns = [
        [method_name(row.method) for row in rows],
        ["–" if row.rank is None else f"{row.rank:.1f}" for row in rows],
    ]
    for dataset in material.datasets:
        values = [row.results[dataset].selection.val.accuracy if dataset in row.results else None for row in rows]
        texts = [
            percent(value) + signs(row.method, by_dataset[dataset]) for value, row in zip(values, rows, strict=True)
        ]
        columns.append(marked(texts, values, 100))
    columns.append([f"{row.cost:.2f}" for row in rows])
    return [list(row) for row in zip(*columns, strict=True)]


def _records(rows: list[Row]) -> list[dict[str, Any]]:
    return [
        {
            "method": row.method,
            "rank": row.rank,
            "flops_ratio": row.cost,
            "dataset": dataset,
            "source": result.source,
            "note": result.note,
            "seeds": numbers(result.seeds),
            "accuracy": result.selection.val.accuracy.mean,
            "accuracy_std": result.selection.val.accuracy.std,
        }
        for row in rows
        for dataset, result in row.results.items()
    ]
