"""Each modality's accuracy inside each model: Table I of AIM's paper, its own numbers beside ours."""

from typing import Any

from equimodal.report.document import Document
from equimodal.report.formats.cells import Table
from equimodal.report.names import dataset_name, method_name
from equimodal.report.overview import percent
from equimodal.report.paper.accuracy import notes
from equimodal.report.paper.material import PAPER, Material
from equimodal.report.result import Result
from equimodal.report.tables.described import numbers


def document(material: Material) -> Document:
    """results/paper/STUDY.*"""
    quoted = [material.printed(d, m) for d in material.datasets for m in material.methods]
    spread = "" if "," not in material.seeds else ", mean ± standard deviation"
    lines = [
        f"Test split, percent{spread}, {material.seeds}; epoch chosen on validation.",
        "own: the fusion head's answer to one modality. probe: a linear classifier on its frozen features.",
        *notes(material, any(one is not None and one.modalities for one in quoted)),
    ]
    tables = [(material.titled(dataset), _table(material, dataset)) for dataset in material.datasets]
    return Document(
        f"Modalities inside the models ({material.name})", lines, material.warning, tables, _records(material)
    )


def _table(material: Material, dataset: str) -> Table:
    results = material.on(dataset)
    names = list(dict.fromkeys(name for result in results.values() for name in result.imbalance.s))
    heads, columns = ["method"], [[method_name(method) for method in results]]
    for name in names:
        for readout in ("own", "probe"):
            heads.append(f"{name} ({readout})")
            columns.append([percent(_readout(result, readout).get(name)) for result in results.values()])
        quoted = {method: (one.modalities if (one := material.printed(dataset, method)) else {}) for method in results}
        if any(name in by for by in quoted.values()):
            heads.append(f"{name}, printed ({dataset_name(dataset)})")
            columns.append([f"{by[name]:.2f}" if name in by else "–" for by in quoted.values()])
    return heads, [list(row) for row in zip(*columns, strict=True)]


def _readout(result: Result, readout: str) -> dict[str, Any]:
    return result.selection.val.modalities.get(result.own_readout if readout == "own" else readout, {})


def _records(material: Material) -> list[dict[str, Any]]:
    records = []
    for dataset in material.datasets:
        for method, result in material.on(dataset).items():
            quoted = material.printed(dataset, method)
            for name in result.imbalance.s:
                own, probe = _readout(result, "own").get(name), _readout(result, "probe").get(name)
                records.append(
                    {
                        "dataset": dataset,
                        "method": method,
                        "modality": name,
                        "source": result.source,
                        "note": result.note,
                        "seeds": numbers(result.seeds),
                        "readout": result.own_readout,
                        "own": own and own.mean,
                        "own_std": own and own.std,
                        "probe": probe and probe.mean,
                        "probe_std": probe and probe.std,
                        f"printed_{PAPER}": round(quoted.modalities[name] / 100, 6)
                        if quoted and name in quoted.modalities
                        else None,
                    }
                )
    return records
