"""Each modality's accuracy inside each model, beside models of one modality: Table I of AIM's paper."""

from typing import Any

from equimodal.report.document import Document
from equimodal.report.formats.cells import Table
from equimodal.report.overview import number, percent
from equimodal.report.result import Result
from equimodal.report.tables.collection import Collection
from equimodal.report.tables.comparison import beside
from equimodal.report.tables.described import dataset_lines, numbers, sample_note, source_lines

READOUTS = {
    "split": "split: the fusion head's own weights for the modality, what the fused answer makes of it.",
    "zero-feature": "zero-feature: the fused logits with the other modalities' features set to zero.",
    "probe": "probe: a linear classifier on the encoder's frozen features, what the encoder has learned whether"
    " or not the head uses it.",
}


def document(collection: Collection) -> Document:
    """results/tables/modalities.*"""
    note = sample_note(collection)
    datasets = [dataset for dataset in collection.datasets if collection.on(dataset)]
    readouts = {dataset: readouts_of(collection, dataset) for dataset in datasets}
    used = [readout for readout in READOUTS if any(readout in by for by in readouts.values())]
    cited = [
        one.source
        for dataset in datasets
        for m in collection.methods
        for one in beside(collection, dataset, m)
        if one.numbers.modalities
    ]
    lines = [
        "Accuracy of each modality alone on the test split, percent, mean ± standard deviation over seeds."
        " Estimators differ by tens of points on the same weights, so each number carries its estimator's name:",
        *(READOUTS[readout] for readout in used),
        "gap: highest minus lowest modality. A model of one modality is the mark to compare with:"
        " every readout of it but the probe is the model itself.",
        *dataset_lines(collection),
        *source_lines(collection, cited),
        *([note] if note else []),
    ]
    tables = [(dataset, _accuracies(collection, dataset, readouts[dataset])) for dataset in datasets]
    tables += [
        (f"{dataset}: mean absolute error", errors)
        for dataset in datasets
        if (errors := _errors(collection, dataset, readouts[dataset])) is not None
    ]
    tables += [
        (f"{dataset}: imbalance alpha (Eq. 14) by depth", alpha)
        for dataset in datasets
        if (alpha := _imbalance(collection, dataset)) is not None
    ]
    return Document("Modalities inside the models", lines, note, tables, _records(collection))


def readouts_of(collection: Collection, dataset: str) -> list[str]:
    """What to show of a dataset: the fusion heads' own readouts, then the probe."""
    return [*dict.fromkeys(result.own_readout for result in collection.on(dataset).values()), "probe"]


def _accuracies(collection: Collection, dataset: str, readouts: list[str]) -> Table:
    results, names = collection.on(dataset), collection.modalities(dataset)
    quoted = {method: beside(collection, dataset, method) for method in results}
    show_printed = any(one.numbers.modalities for found in quoted.values() for one in found)
    heads = ["method"]
    for name in names:
        heads += [*(f"{name} ({readout})" for readout in readouts), *([f"{name}, printed"] if show_printed else [])]
    heads += [f"gap ({readout})" for readout in readouts]
    rows = []
    for method, result in results.items():
        row = [method]
        for name in names:
            row += [percent(result.selection.val.modalities.get(readout, {}).get(name)) for readout in readouts]
            if show_printed:
                row.append(
                    " ".join(
                        f"{one.numbers.modalities[name]:.1f} [{one.source}]"
                        for one in quoted[method]
                        if name in one.numbers.modalities
                    )
                    or "–"
                )
        row += [percent(result.imbalance.gap.get(readout)) for readout in readouts]
        rows.append(row)
    return heads, rows


def _errors(collection: Collection, dataset: str, readouts: list[str]) -> Table | None:
    """The same of a regression by mean absolute error, in the labels' unit."""
    by_method = {
        method: result.selection.val.modality_errors
        for method, result in collection.on(dataset).items()
        if result.selection.val.modality_errors
    }
    if not by_method:
        return None
    names = collection.modalities(dataset)
    rows = []
    for method, found in by_method.items():
        errors = [found.get(readout, {}).get(name) for name in names for readout in readouts]
        rows.append([method, *(number(each.mae if each is not None else None) for each in errors)])
    return ["method", *(f"{name} ({readout})" for name in names for readout in readouts)], rows


def _imbalance(collection: Collection, dataset: str) -> Table | None:
    by_method = {
        method: result.imbalance.alpha for method, result in collection.on(dataset).items() if result.imbalance.alpha
    }
    if not by_method:
        return None
    depths = max(len(alpha) for alpha in by_method.values())
    rows = [
        [method, *(f"{value.mean:.2f}" for value in alpha), *["–"] * (depths - len(alpha))]
        for method, alpha in by_method.items()
    ]
    return ["method", *(f"depth {depth}" for depth in range(1, depths + 1))], rows


def _records(collection: Collection) -> list[dict[str, Any]]:
    return [
        record
        for dataset in collection.datasets
        for result in collection.on(dataset).values()
        for record in _of_result(collection, result)
    ]


def _of_result(collection: Collection, result: Result) -> list[dict[str, Any]]:
    """One row per modality."""
    records = []
    by_readout = result.selection.val.modalities
    for name in dict.fromkeys(name for values in by_readout.values() for name in values):
        record: dict[str, Any] = {
            "dataset": result.dataset,
            "method": result.method.name,
            "modality": name,
            "source": result.source,
            "note": result.note,
            "seeds": numbers(result.seeds),
        }
        for readout in READOUTS:
            value = by_readout.get(readout, {}).get(name)
            record |= {readout: value.mean if value else None, f"{readout}_std": value.std if value else None}
        for one in beside(collection, result.dataset, result.method.name):
            if name in one.numbers.modalities:
                record[f"printed_{one.source}"] = one.numbers.modalities[name] / 100
        records.append(record)
    return records
