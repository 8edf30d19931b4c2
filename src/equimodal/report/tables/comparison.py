"""The study's methods by dataset: accuracy and macro-F1, what differs from joint training, and what papers print."""

from collections.abc import Iterable
from typing import Any

from equimodal.report.document import Document
from equimodal.report.formats.cells import Table
from equimodal.report.overview import percent
from equimodal.report.published import Printed, printed
from equimodal.report.result import Result, Spread
from equimodal.report.rules import RULES
from equimodal.report.tables.collection import BASELINES, Collection
from equimodal.report.tables.described import dataset_lines, numbers, sample_note, source_lines
from equimodal.report.tables.errors import errors_lines, errors_record, errors_table
from equimodal.report.tables.marks import marked
from equimodal.report.tables.significance import WHAT_IT_SAYS, Test, Tests, signs, tests


def document(collection: Collection) -> Document:
    """results/tables/comparison.*"""
    by_dataset = {dataset: tests(collection.everything_on(dataset)) for dataset in collection.datasets}
    note = sample_note(collection)
    cited = [
        found.source
        for dataset in collection.datasets
        for method in collection.methods
        for found in beside(collection, dataset, method)
    ]
    lines = [
        "Test split, percent, mean ± standard deviation over seeds. Of ours, the best of a column is bold"
        " and the second underlined, by the number shown.",
        *WHAT_IT_SAYS,
        *_families(collection, by_dataset),
        *errors_lines(collection),
        *dataset_lines(collection),
        *source_lines(collection, cited),
        *([note] if note else []),
    ]
    tables = [("Accuracy and macro-F1", _accuracies(collection, by_dataset))]
    errors = errors_table(collection, by_dataset)
    if errors is not None:
        tables.append(("Regressions: error and correlation", errors))
    if any(by_dataset.values()):
        tables.append(
            (
                "Differences of accuracy, in points, and of a regression's mean absolute error",
                _differences(collection, by_dataset),
            )
        )
    tables.append(("Accuracy by rule of selection", _rules(collection)))
    return Document("Methods compared", lines, note, tables, _records(collection, by_dataset))


def _families(collection: Collection, by_dataset: dict[str, Tests]) -> list[str]:
    """How many tests each correction is for: more methods, larger corrected p."""
    named = []
    for dataset, found in by_dataset.items():
        tested = [method for method, baseline in found if baseline == "joint"]
        hidden = sum((dataset, method) not in collection.results for method in tested)
        if tested:
            named.append(f"{dataset} {len(tested)}" + (f" ({hidden} of them not shown)" if hidden else ""))
    return [f"Methods tested against joint, which Holm's rule corrects for: {', '.join(named)}."] if named else []


def beside(collection: Collection, dataset: str, method: str) -> list[Printed]:
    """What papers print for a row; nothing beside a generated sample, whose data are other ones, or a regression,
    whose task is.
    """
    other = collection.sampled(dataset) or any(
        result.task == "regression" for result in collection.on(dataset).values()
    )
    return [] if other else printed(dataset, method)


def cell(found: Iterable[Printed], quantity: str) -> str:
    """67.5 [aim] 65.1 [aug]."""
    return (
        " ".join(
            f"{value:.1f} [{one.source}]" for one in found if (value := getattr(one.numbers, quantity)) is not None
        )
        or "–"
    )


def _accuracies(collection: Collection, by_dataset: dict[str, Tests]) -> Table:
    heads, columns = ["method"], [list[str](collection.methods)]
    for dataset in collection.datasets:
        results = collection.on(dataset)
        if not results:
            continue
        for name, quantity in (("accuracy", "accuracy"), ("macro-F1", "macro_f1")):
            values: list[Spread | None] = [
                getattr(results[m].selection.val, quantity) if m in results else None for m in collection.methods
            ]
            texts = [percent(value) for value in values]
            if quantity == "accuracy" and not any(result.task == "regression" for result in results.values()):
                texts = [
                    text + signs(method, by_dataset[dataset])
                    for text, method in zip(texts, collection.methods, strict=True)
                ]
            heads.append(f"{dataset} {name}")
            columns.append(marked(texts, values, 100))
        if any(beside(collection, dataset, method) for method in collection.methods):
            for name, quantity in (("accuracy", "accuracy"), ("macro-F1", "macro_f1")):
                heads.append(f"{dataset} {name}, printed")
                columns.append([cell(beside(collection, dataset, method), quantity) for method in collection.methods])
    return heads, [list(row) for row in zip(*columns, strict=True)]


def _differences(collection: Collection, by_dataset: dict[str, Tests]) -> Table:
    heads = ["method"]
    columns: list[list[str]] = [list(collection.methods)]
    for dataset, found in by_dataset.items():
        for baseline in BASELINES:
            if not any(other == baseline for _, other in found):
                continue
            heads += [f"{dataset} minus {baseline} [95 %]", "p (Holm)"]
            differences, ps = [], []
            for method in collection.methods:
                test = found.get((method, baseline))
                differences.append(_difference(test, collection.results[dataset, method]) if test else "–")
                ps.append(f"{test.holm:.2g}" if test and test.holm is not None else "–")
            columns += [differences, ps]
    return heads, [list(row) for row in zip(*columns, strict=True)]


def _difference(test: Test, result: Result) -> str:
    scale, form = (1, "+.3f") if result.task == "regression" else (100, "+.1f")
    interval = test.difference.interval95
    reach = "" if interval is None else f" [{scale * interval[0]:{form}}, {scale * interval[1]:{form}}]"
    fewer = f" (seeds {numbers(test.seeds)})" if test.seeds != result.seeds else ""
    return f"{scale * test.difference.mean:{form}}{reach}{fewer}"


def _rules(collection: Collection) -> Table:
    heads = ["dataset", "method", "on validation", *RULES.values(), "every seed, best on validation"]
    rows = []
    for dataset in collection.datasets:
        for method, result in collection.on(dataset).items():
            chosen = result.selection
            seeds = "  ".join(f"{100 * value:.1f}" for value in chosen.val.accuracy.per_seed)
            by_rule = [percent(one and one.accuracy) for one in (getattr(chosen, rule) for rule in RULES)]
            rows.append([dataset, method, percent(chosen.val.validation.accuracy), *by_rule, seeds])
    return heads, rows


def _records(collection: Collection, by_dataset: dict[str, Tests]) -> list[dict[str, Any]]:
    records = []
    for dataset in collection.datasets:
        for method, result in collection.on(dataset).items():
            record = _measured(result)
            for baseline in BASELINES:
                test = by_dataset[dataset].get((method, baseline))
                low, high = (test.difference.interval95 if test else None) or (None, None)
                record |= {
                    f"minus_{baseline}": test.difference.mean if test else None,
                    f"minus_{baseline}_low": low,
                    f"minus_{baseline}_high": high,
                    f"minus_{baseline}_seeds": numbers(test.seeds) if test else None,
                    f"p_{baseline}": test.difference.p if test else None,
                    f"p_{baseline}_holm": test.holm if test else None,
                }
            for one in beside(collection, dataset, method):
                record |= {f"printed_accuracy_{one.source}": one.numbers.accuracy / 100}
                if one.numbers.macro_f1 is not None:
                    record |= {f"printed_macro_f1_{one.source}": one.numbers.macro_f1 / 100}
            records.append(record)
    return records


def _measured(result: Result) -> dict[str, Any]:
    record: dict[str, Any] = {
        "dataset": result.dataset,
        "method": result.method.name,
        "source": result.source,
        "protocol": result.protocol,
        "task": result.task,
        "note": result.note,
        "warnings": " ".join(f"{text}." for text in result.warnings) or None,
        "seeds": numbers(result.seeds),
    }
    for quantity in ("accuracy", "macro_f1"):
        value = getattr(result.selection.val, quantity)
        record |= {quantity: value.mean, f"{quantity}_std": value.std}
        record[f"{quantity}_per_seed"] = " ".join(map(repr, value.per_seed))  # what paired tests are made of
    record["accuracy_validation"] = result.selection.val.validation.accuracy.mean
    for rule in ("last", "test"):
        chosen = getattr(result.selection, rule)
        record[f"accuracy_rule_{rule}"] = chosen.accuracy.mean if chosen else None
    return record | errors_record(result)
