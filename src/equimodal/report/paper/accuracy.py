"""Accuracy and macro-F1 of methods by dataset: Tables II to V of AIM's paper, its own numbers beside ours."""

from typing import Any

from equimodal.report.document import Document
from equimodal.report.formats.cells import Table
from equimodal.report.information import sizes_line, warning_lines
from equimodal.report.names import dataset_name, method_name
from equimodal.report.overview import percent
from equimodal.report.paper.material import PAPER, Material
from equimodal.report.published import sources
from equimodal.report.result import Spread
from equimodal.report.tables.collection import BASELINES
from equimodal.report.tables.described import numbers
from equimodal.report.tables.marks import marked
from equimodal.report.tables.significance import LEVEL, Tests, signs, tests

QUANTITIES = (("accuracy", "accuracy"), ("macro-F1", "macro_f1"))


def document(material: Material) -> Document:
    """results/paper/STUDY.*"""
    by_dataset = {dataset: tests(material.on(dataset)) for dataset in material.datasets}
    spread = "" if "," not in material.seeds else ", mean ± standard deviation"
    lines = [
        f"Test split, percent{spread}, {material.seeds}; epoch chosen on validation.",
        *marks_line(by_dataset),
        *notes(material, any(material.printed(d, m) for d in material.datasets for m in material.methods)),
    ]
    table = _table(material, by_dataset)
    title = f"Accuracy and macro-F1 of methods ({material.name})"
    return Document(title, lines, material.warning, [("Methods", table)], _records(material))


def marks_line(by_dataset: dict[str, Tests]) -> list[str]:
    """What the signs behind numbers mean, of the baselines that the study has; no line without any."""
    used = {baseline for found in by_dataset.values() for (_, baseline), test in found.items() if test.holm is not None}
    marks = [
        f"{sign} differs from {method_name(name)}" for sign, name in zip("†‡", BASELINES, strict=True) if name in used
    ]
    what = f": paired t over seeds, two-sided, corrected by Holm's rule, p < {LEVEL}."
    return [", ".join(marks) + what] if marks else []


def notes(material: Material, quoted: bool) -> list[str]:
    """Lines that every table of a paper ends with: whose numbers are quoted, what is missing, how many samples the
    numbers are of, what says little, what is a sample.
    """
    results = list(material.results.values())
    return [
        *([f"printed: {sources()[PAPER].cite}; its data, splits and rule of selection are others."] if quoted else []),
        *(f"Left out: {line}." for line in material.refused),
        sizes_line(results),
        *(f"Warning: {line}" for line in warning_lines(results)),
        *([material.warning] if material.warning else []),
    ]


def _table(material: Material, by_dataset: dict[str, Tests]) -> Table:
    heads, columns = ["method"], [[method_name(method) for method in material.methods]]
    for dataset in material.datasets:
        results, title = material.on(dataset), material.titled(dataset)
        for name, quantity in QUANTITIES:
            values: list[Spread | None] = [
                getattr(results[m].selection.val, quantity) if m in results else None for m in material.methods
            ]
            texts = [percent(value) for value in values]
            if quantity == "accuracy":
                texts = [
                    text + signs(method, by_dataset[dataset])
                    for text, method in zip(texts, material.methods, strict=True)
                ]
            heads.append(f"{title} {name}")
            columns.append(marked(texts, values, 100))
        if any(material.printed(dataset, method) for method in material.methods):
            for name, quantity in QUANTITIES:
                heads.append(f"{dataset_name(dataset)} {name}, printed")
                quoted = [material.printed(dataset, method) for method in material.methods]
                columns.append(["–" if (n := one and getattr(one, quantity)) is None else f"{n:.2f}" for one in quoted])
    return heads, [list(row) for row in zip(*columns, strict=True)]


def _records(material: Material) -> list[dict[str, Any]]:
    records = []
    for dataset in material.datasets:
        for method, result in material.on(dataset).items():
            best, quoted = result.selection.val, material.printed(dataset, method)
            records.append(
                {
                    "dataset": dataset,
                    "method": method,
                    "source": result.source,
                    "note": result.note,
                    "seeds": numbers(result.seeds),
                    "accuracy": best.accuracy.mean,
                    "accuracy_std": best.accuracy.std,
                    "accuracy_per_seed": " ".join(map(repr, best.accuracy.per_seed)),
                    "macro_f1": best.macro_f1.mean,
                    "macro_f1_std": best.macro_f1.std,
                    f"printed_accuracy_{PAPER}": quoted and round(quoted.accuracy / 100, 6),
                    f"printed_macro_f1_{PAPER}": None
                    if quoted is None or quoted.macro_f1 is None
                    else round(quoted.macro_f1 / 100, 6),
                }
            )
    return records
