"""Regressions of a study: errors and correlation by method and dataset."""

from typing import Any

from equimodal.report.formats.cells import Table
from equimodal.report.overview import number, percent
from equimodal.report.result import Errors, Result, Spread
from equimodal.report.tables.collection import Collection
from equimodal.report.tables.marks import Better, marked
from equimodal.report.tables.significance import Tests, signs

COLUMNS: list[tuple[str, str, Better]] = [
    ("MAE", "mae", "lower"),
    ("correlation", "pearson", "higher"),
    ("binary", "binary_accuracy", "higher"),
    ("binary, no ties", "nonzero_accuracy", "higher"),
]


def errors_table(collection: Collection, by_dataset: dict[str, Tests]) -> Table | None:
    """Errors of every method on the datasets that are regressions; None when there are none."""
    heads = ["method"]
    columns: list[list[str]] = [list(collection.methods)]
    for dataset in collection.datasets:
        found = {
            method: result.selection.val.errors
            for method, result in collection.on(dataset).items()
            if result.selection.val.errors is not None
        }
        for name, quantity, better in COLUMNS if found else ():
            values = [_value(found.get(method), quantity) for method in collection.methods]
            texts = [(percent if "accuracy" in quantity else number)(value) for value in values]
            if quantity == "mae":
                texts = [
                    text + signs(method, by_dataset[dataset])
                    for text, method in zip(texts, collection.methods, strict=True)
                ]
            heads.append(f"{dataset} {name}")
            # Ranked as shown: three decimals of an error or a correlation are one of a hundredfold, as of a percentage.
            columns.append(marked(texts, values, 100, better))
    return (heads, [list(row) for row in zip(*columns, strict=True)]) if len(heads) > 1 else None


def errors_lines(collection: Collection) -> list[str]:
    """What a reader must know of the regressions."""
    firsts = [next(iter(collection.on(dataset).values()), None) for dataset in collection.datasets]
    return [_line(first, first.regression) for first in firsts if first is not None and first.regression is not None]


def _line(first: Result, regression: dict[str, Any]) -> str:
    return (
        f"{first.dataset}: a regression ({regression.get('loss', '?')} loss). Its accuracy and macro-F1"
        f" read a prediction as the nearest of the {len(first.classes)} grid values;"
        " its tests are on the mean absolute error (MAE)."
        f" binary: at or above {regression.get('threshold', '?')} against below;"
        " no ties: samples labelled exactly so left out."
    )


def errors_record(result: Result) -> dict[str, Any]:
    """For the CSV; nothing for a classification."""
    errors = result.selection.val.errors
    record: dict[str, Any] = {}
    for quantity in Errors.model_fields if errors is not None else ():
        value = _value(errors, quantity)
        record |= {quantity: value.mean if value else None, f"{quantity}_std": value.std if value else None}
    return record


def _value(errors: Errors | None, quantity: str) -> Spread | None:
    return None if errors is None else getattr(errors, quantity)
