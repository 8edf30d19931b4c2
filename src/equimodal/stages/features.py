"""Stage features: the media (or arrays) of one modality to one array, with what was rejected and why.

A killed run is continued.
"""

from pathlib import Path
from typing import Any

import numpy as np

from equimodal.engines.closure import code_files, contents
from equimodal.engines.layout import feature_paths, index_path, raw_manifest_path
from equimodal.errors import UserError
from equimodal.features.extract import Extraction, Failure, fill, kind_of
from equimodal.features.journal import journaled
from equimodal.features.statistics import channel_statistics, step_statistics
from equimodal.params import Params
from equimodal.settings.features import Feature
from equimodal.store import digest, file_sha256, read_json, write_json


def run(params: Params, dataset: str, modality: str) -> None:
    """Write data/D/features/m.npy (one row per index sample, in index order; zeros where rejected) and m.json.

    Raises:
        UserError: an unknown modality, an index that is missing, no readable training sample, a full disk,
            a worker that died.
    """
    settings = params.dataset(dataset).modalities.get(modality)
    if settings is None:
        raise UserError(
            f"unknown modality '{modality}'; {dataset} has: {', '.join(params.dataset(dataset).modalities)}"
        )
    index = read_json(index_path(dataset))
    samples = index["samples"]
    array_path, info_path = feature_paths(dataset, modality)
    kind = kind_of(settings)
    shape, dtype = kind.shape(settings), kind.dtype(settings)
    folder = Path(".checkpoints") / f"features-{dataset}-{modality}"
    with journaled(folder, _key(dataset, settings), (len(samples), *shape), dtype, array_path) as (array, journal):
        done = fill(array, samples, modality, Path(index["root"]), settings, params.runtime.workers, journal)
        rows = _training_rows(samples, done.failures, dataset, modality)
        lengths = _lengths(done, len(samples)) if settings.kind == "sequence" else None
        mean, std = (
            channel_statistics(journal.rows, rows)
            if lengths is None
            else step_statistics(journal.rows, rows, np.array(lengths))
        )
        # An old .json must never stand beside a new array.
        info_path.unlink(missing_ok=True)
        journal.publish(array_path)
        write_json(
            info_path,
            {
                "modality": modality,
                "kind": settings.kind,
                "settings": settings.slice(),
                "shape": list(shape),
                "dtype": dtype,
                "notes": {**kind.notes(settings), **_counts(done)},
                **({} if lengths is None else {"lengths": lengths}),
                "rows": len(samples),
                "clips": done.clips,
                "rejected": [
                    {"row": failure.row, "id": failure.id, "reason": failure.reason}
                    for failure in done.failures
                    if not failure.missing
                ],
                "missing": [
                    {"row": failure.row, "id": failure.id, "reason": failure.reason}
                    for failure in done.failures
                    if failure.missing
                ],
                "sha256": file_sha256(array_path),
                "stats": {"mean": mean, "std": std},
            },
        )


def _key(dataset: str, settings: Feature) -> str:
    """What a row depends on: rows that a killed run made are good for this one if it is the same."""
    inputs = [path for path in (index_path(dataset), raw_manifest_path(dataset)) if path.is_file()]
    return digest(
        {
            "settings": settings.slice(),
            "files": {str(path): file_sha256(path) for path in inputs},
            "code": contents(code_files("equimodal.stages.features")),
        }
    )


def _lengths(done: Extraction, rows: int) -> list[int]:
    """Steps of every row; 0 where there is no data."""
    lengths = dict.fromkeys(range(rows), 0) | {fact.row: fact.length for fact in done.facts}
    return list(lengths.values())


def _counts(done: Extraction) -> dict[str, int]:
    """What was done to arrays; {} for media."""
    if not done.facts:
        return {}
    return {
        "cut_samples": sum(fact.cut > 0 for fact in done.facts),
        "cut_steps": sum(fact.cut for fact in done.facts),
        "nonfinite_samples": sum(fact.nonfinite > 0 for fact in done.facts),
        "nonfinite_values": sum(fact.nonfinite for fact in done.facts),
    }


def _training_rows(samples: list[dict[str, Any]], failures: list[Failure], dataset: str, modality: str) -> np.ndarray:
    """Rows that the statistics are made of: training samples with data."""
    failed = {failure.row for failure in failures}
    rows = [row for row, sample in enumerate(samples) if sample["split"] == "train" and row not in failed]
    if not rows:
        reason = f": {failures[0].id}: {failures[0].reason}" if failures else ""
        raise UserError(
            f"{dataset}: {modality} of no training sample could be read ({len(failures)} of {len(samples)}"
            f" samples failed{reason});"
            f" check the files and datasets.{dataset}.modalities.{modality}"
        )
    return np.array(rows)
