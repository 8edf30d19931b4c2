"""The features of a whole dataset: clips to rows of one array on disk, by several processes, in bounded memory."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from equimodal.features import flow, frames, pool, sequence, spectrogram, vector
from equimodal.features.arrays import locate
from equimodal.features.contract import Kind, Place, Row, Segment
from equimodal.features.journal import Journal
from equimodal.features.media import MediaError, MissingTrackError
from equimodal.progress import watched
from equimodal.settings.features import ArraySettings, Feature

# A new kind of feature is a module that fits `Kind`, a settings model in settings.features, and a line here.
KINDS: dict[str, Kind] = {
    "spectrogram": spectrogram,
    "frames": frames,
    "flow": flow,
    "sequence": sequence,
    "vector": vector,
}

# At most so many rows, and bytes of rows, are in a worker's memory at once;
# a clip with more samples is read in several goes.
ROWS, BYTES = 64, 32 << 20

# Seconds per sample, by the clock, after which a clip is given up: thousands of times what any decoder needs, some
# forty times what TV-L1 flow does.
PATIENCE = 120.0


def kind_of(settings: Feature) -> Kind:
    """The module that makes this kind of feature."""
    return KINDS[settings.kind]


@dataclass(frozen=True)
class Job:
    """Samples of one clip, in the order of their start."""

    path: Path
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Failure:
    """A row without data. `missing`: the clip is fine but has no such track."""

    row: int
    id: str
    reason: str
    missing: bool


@dataclass(frozen=True)
class Fact:
    """What was done to a row made of an array: steps stored (a vector's numbers), steps cut, numbers set to zero."""

    row: int
    length: int
    cut: int
    nonfinite: int


@dataclass(frozen=True)
class Extraction:
    """What became of the samples: failures by row, how many clips were decoded, and of arrays the facts by row."""

    failures: list[Failure]
    clips: int
    facts: list[Fact]


def plan(
    samples: Sequence[dict[str, Any]], modality: str, root: Path, row_bytes: int, arrays: bool = False
) -> tuple[list[Job], list[Failure]]:
    """Group an index's samples by clip, so that each is decoded once.

    A sample without a path for this modality is a failure.

    Args:
        arrays: paths name places in files of arrays (`features.arrays`), not clips.
    """
    failures = [
        Failure(row, sample["id"], f"no {modality} file", True)
        for row, sample in enumerate(samples)
        if not sample["paths"].get(modality)
    ]
    with_path = []
    for row, sample in enumerate(samples):
        if path := sample["paths"].get(modality):
            file, place = locate(path) if arrays else (path, Place())
            with_path.append((file, Segment(row, sample["id"], sample["start"], sample["end"], place)))
    with_path.sort(key=lambda item: (item[0], item[1].place.row or 0, item[1].start or 0.0, item[1].row))
    step = max(1, min(ROWS, BYTES // row_bytes))
    jobs = []
    for path, group in groupby(with_path, key=lambda item: item[0]):
        segments = [segment for _, segment in group]
        jobs += [Job(root / path, tuple(segments[begin : begin + step])) for begin in range(0, len(segments), step)]
    return jobs, failures


def fill(
    array: np.memmap,
    samples: Sequence[dict[str, Any]],
    modality: str,
    root: Path,
    settings: Feature,
    workers: int,
    journal: Journal | None = None,
) -> Extraction:
    """Write every sample's row into `array` [N, ...] (zeros so far, on disk); a failed sample's row stays zero.

    The result does not depend on `workers`: each row is a function of its clip and its settings alone.

    Args:
        journal: jobs whose rows are in `array` already are left out, and what is done is noted; None for a fresh array.

    Raises:
        UserError: a worker died; settings that this machine cannot serve.
        OSError: the disk is full.
    """
    row_bytes = array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    jobs, failures = plan(samples, modality, root, row_bytes, isinstance(settings, ArraySettings))
    done = {} if journal is None else journal.done
    if done:
        print(f"{modality} features: going on after {len(done)} of {len(jobs)} clips", file=sys.stderr, flush=True)
    facts = [Fact(*fact) for number in done for fact in done[number]]
    numbers = {job: number for number, job in enumerate(jobs)}
    left = [job for job in jobs if numbers[job] not in done]
    work = Work(settings, Path(array.filename or ""), int(array.offset), array.shape[1:], row_bytes)
    results = pool.run(work, left, workers, lambda job: str(job.path), (__name__, *kind_of(settings).LIBRARIES), LIMIT)
    for job, failed, found in watched(results, len(left), f"{modality} features"):
        failures += failed
        facts += found
        if journal is not None and not failed:  # a clip that failed is tried again: it may have been mended
            journal.add(numbers[job], [astuple(fact) for fact in found])
    return Extraction(
        sorted(failures, key=lambda failure: failure.row),
        len({job.path for job in jobs}),
        sorted(facts, key=lambda fact: fact.row),
    )


Done = tuple[Job, list[Failure], list[Fact]]


def _given_up(job: Job) -> Done:
    """Every sample of a clip whose decoder was stuck; rows are written after the decoding, so there is none."""
    return (
        job,
        [
            Failure(segment.row, segment.id, f"stuck: not decoded after {PATIENCE:.0f} s per sample", False)
            for segment in job.segments
        ],
        [],
    )


LIMIT = pool.Limit[Job, Done](lambda job: PATIENCE * len(job.segments), _given_up)


@dataclass(frozen=True)
class Work:
    """What a worker does with a job: decode, compute, write the rows, return the job, its failures and its facts.

    Rows are written with pwrite, not through a memory map: mapped pages would count as memory of every process, and a
    full disk would kill it (SIGBUS) instead of raising.
    """

    settings: Feature
    array: Path
    offset: int
    shape: tuple[int, ...]
    row_bytes: int

    def __call__(self, job: Job) -> Done:
        """Raises OSError when the disk is full."""
        failures: list[Failure] = []
        facts: list[Fact] = []
        handle = os.open(self.array, os.O_WRONLY)
        try:
            for segment, row in self._rows(job):
                if isinstance(row, MediaError):
                    failures.append(Failure(segment.row, segment.id, str(row), isinstance(row, MissingTrackError)))
                    continue
                if isinstance(row, Row):
                    facts.append(Fact(segment.row, len(row.values), row.cut, row.nonfinite))
                    row = row.values
                # A shorter one: zeros follow
                whole = row.shape == self.shape or (row.shape[1:] == self.shape[1:] and len(row) < self.shape[0])
                assert whole, f"{job.path}: row of shape {row.shape}, promised {self.shape}"
                os.pwrite(handle, np.ascontiguousarray(row).data, self.offset + segment.row * self.row_bytes)
        finally:
            os.close(handle)
        return job, failures, facts

    def _rows(self, job: Job) -> Iterator[tuple[Segment, np.ndarray | Row | MediaError]]:
        try:
            rows: Sequence[np.ndarray | Row | MediaError] = kind_of(self.settings).extract(
                job.path, job.segments, self.settings
            )
        except MediaError as error:
            rows = [error] * len(job.segments)
        return zip(job.segments, rows, strict=True)
