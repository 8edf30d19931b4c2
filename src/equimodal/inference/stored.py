"""Clips as arrays: what data/D/features holds of a dataset's samples, of any clips, by the same code."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from equimodal.errors import UserError
from equimodal.features.cleaning import cleaned
from equimodal.features.contract import Row
from equimodal.features.extract import fill, kind_of
from equimodal.features.media import MediaError
from equimodal.inference.clips import Clip
from equimodal.inference.description import Description, InputDescription
from equimodal.settings.features import Feature

FEATURE: TypeAdapter[Feature] = TypeAdapter(Feature)


@dataclass(frozen=True)
class Rejected:
    """A clip that cannot be predicted, and why."""

    clip: Clip
    modality: str
    reason: str


@dataclass(frozen=True)
class Stored:
    """What could be read of some clips.

    Attributes:
        clips: those that can be predicted.
        rows: {m: [n, ...]} of them, as data/D/features/m.npy.
        lengths: {m: [n]} steps of sequences.
        filled: clips of which a modality is missing and stands at zero, by modality.
    """

    clips: list[Clip]
    rows: dict[str, "np.ndarray[Any, Any]"]
    lengths: dict[str, list[int]]
    rejected: list[Rejected]
    filled: dict[str, int]


def stored(clips: Sequence[Clip], about: Description, workers: int) -> Stored:
    """Read the clips' media and arrays. One that lacks a modality is left out, or stands at zero there, as in training
    (`missing`); one that lacks all is left out.

    Raises:
        UserError: a worker died, settings that this machine cannot serve, an array of another shape.
    """
    rows: dict[str, np.ndarray[Any, Any]] = {}
    lengths: dict[str, list[int]] = {}
    failures: list[tuple[int, str, str, bool]] = []  # clip, modality, reason, missing
    for entry in about.inputs:
        rows[entry.name], steps, failed = _modality(clips, entry, workers)
        if entry.kind == "sequence":
            lengths[entry.name] = steps
        failures += failed
    lacking = Counter(number for number, _, _, missing in failures if missing)
    filled: dict[str, int] = {}
    rejected: dict[int, Rejected] = {}
    for number, modality, reason, missing in sorted(failures):
        if missing and about.missing == "zero" and lacking[number] < len(about.inputs):
            filled[modality] = filled.get(modality, 0) + 1
        else:
            rejected.setdefault(number, Rejected(clips[number], modality, reason))
    kept = [number for number in range(len(clips)) if number not in rejected]
    return Stored(
        [clips[number] for number in kept],
        {name: values[kept] for name, values in rows.items()},
        {name: [steps[number] for number in kept] for name, steps in lengths.items()},
        list(rejected.values()),
        filled,
    )


def row_bytes(about: Description) -> int:
    """Bytes of one clip's rows."""
    each = ((entry.shape, kind_of(_settings(entry)).dtype(_settings(entry))) for entry in about.inputs)
    return sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in each)


def _settings(entry: InputDescription) -> Feature:
    return FEATURE.validate_python(entry.settings)


def _modality(
    clips: Sequence[Clip], entry: InputDescription, workers: int
) -> tuple["np.ndarray[Any, Any]", list[int], list[tuple[int, str, str, bool]]]:
    """One modality of all clips: rows, steps of sequences, what failed."""
    settings = _settings(entry)
    shape = tuple(entry.shape)
    ready = {number: clip.arrays[entry.name] for number, clip in enumerate(clips) if entry.name in clip.arrays}
    asked = [number for number in range(len(clips)) if number not in ready]
    steps = [0] * len(clips)
    failed: list[tuple[int, str, str, bool]] = []
    rows = np.zeros((len(clips), *shape), dtype=kind_of(settings).dtype(settings))
    if asked:
        samples = [
            {
                "id": clips[number].id,
                "paths": {entry.name: _absolute(clips[number].files.get(entry.name))},
                "start": clips[number].start,
                "end": clips[number].end,
            }
            for number in asked
        ]
        with tempfile.TemporaryDirectory(prefix="equimodal-") as folder:
            path = Path(folder) / "rows.npy"
            array = np.lib.format.open_memmap(path, mode="w+", dtype=rows.dtype, shape=(len(asked), *shape))
            done = fill(array, samples, entry.name, Path("/"), settings, workers)
            rows[asked] = np.load(path)
            del array
        for fact in done.facts:
            steps[asked[fact.row]] = fact.length
        failed = [(asked[f.row], entry.name, f.reason, f.missing) for f in done.failures]
    for number, values in ready.items():
        try:
            row = _given(values, entry, settings)
        except MediaError as error:
            failed.append((number, entry.name, str(error), False))
            continue
        rows[number, : len(row.values)] = row.values
        steps[number] = len(row.values)
    return rows, steps, failed


def _given(values: "np.ndarray[Any, Any]", entry: InputDescription, settings: Feature) -> Row:
    """A row that the caller has made."""
    shape = tuple(entry.shape)
    if settings.kind == "sequence":
        if values.ndim != 2 or values.shape[1] != shape[1] or len(values) == 0:
            raise UserError(f"{entry.name} is an array of shape {list(values.shape)}: [steps, {shape[1]}] is needed")
        return cleaned(values[: shape[0]].astype(np.float32), settings.nonfinite)
    if values.shape != shape:
        raise UserError(
            f"{entry.name} is an array of shape {list(values.shape)}: {list(shape)} is needed, as"
            f" data/*/features/{entry.name}.npy holds it"
        )
    return cleaned(values, settings.nonfinite) if settings.kind == "vector" else Row(values)


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())
