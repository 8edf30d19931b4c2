"""How many jobs a run has, how many of them are done already, and about how long the rest takes: from the benchmark
files of earlier runs in this folder, which Snakemake writes beside the logs.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

SEED = re.compile(r"-\d+$")


@dataclass(frozen=True)
class Job:
    """A job that is to run: its rule, its benchmark file (logs/STAGE/DATASET-METHOD-SEED.tsv), threads, GPUs, and the
    jobs among them that it waits for, by place.
    """

    rule: str
    benchmark: Path | None
    threads: int = 1
    gpus: int = 0
    after: tuple[int, ...] = ()


def announcement(jobs: list[Job], total: int, cores: int | None) -> str:
    """One line: 'jobs: 12 of 40 are done, 28 to run: about 14 min on 2 cores (by earlier runs here; ...)'.

    Args:
        jobs: those to run, each after the ones it waits for.
        total: all that the targets need, those that are done included.
        cores: of this machine that the run may use; None: on another machine.
    """
    head = f"jobs: {total - len(jobs)} of {total} are done, {len(jobs)} to run"
    known = {folder: seconds_of(folder) for folder in {job.benchmark.parent for job in jobs if job.benchmark}}
    seconds = [expected(job.benchmark, known[job.benchmark.parent]) if job.benchmark else None for job in jobs]
    missing = sorted({job.rule for job, each in zip(jobs, seconds, strict=True) if each is None and job.benchmark})
    if all(each is None for each in seconds) or cores is None:
        return f"{head}; how long they take is told once some have run here"
    took = duration(jobs, [each or 0.0 for each in seconds], cores)
    unknown = f"; not counted, as none has run yet: {', '.join(missing)}" if missing else ""
    return f"{head}: about {in_words(took)} on {cores} core{'' if cores == 1 else 's'} (by earlier runs here{unknown})"


def seconds_of(folder: Path) -> dict[str, float]:
    """Stem of every benchmark file in a folder -> seconds of the job; files that cannot be read count as none."""
    found = {}
    for path in sorted(folder.glob("*.tsv")):
        try:
            with path.open(newline="", encoding="utf-8") as file:
                found[path.stem] = median(float(row["s"]) for row in csv.DictReader(file, delimiter="\t"))
        except (OSError, KeyError, ValueError):  # being written, or of another program
            continue
    return found


def expected(benchmark: Path, known: Mapping[str, float]) -> float | None:
    """Seconds of a job by the nearest earlier runs of its stage: the job itself, the same with other seeds, the same
    dataset, any. None without any.
    """
    stem = benchmark.stem
    if stem in known:
        return known[stem]
    without_seed = SEED.sub("", stem)
    dataset = dataset_of(stem, known)
    for alike in (
        [each for name, each in known.items() if SEED.sub("", name) == without_seed],
        [each for name, each in known.items() if dataset and name.startswith(f"{dataset}-")],
        list(known.values()),
    ):
        if alike:
            return median(alike)
    return None


def dataset_of(stem: str, known: Iterable[str]) -> str | None:
    """DATASET of DATASET-METHOD-SEED: the longest beginning of a stem, up to a hyphen, that an earlier run has too."""
    parts = stem.split("-")
    heads = ["-".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
    return next((head for head in heads if any(name.startswith(f"{head}-") for name in known)), None)


def duration(jobs: list[Job], seconds: list[float], cores: int) -> float:
    """At least what the cores, one GPU, and the longest chain of jobs take."""
    work = sum(each * min(job.threads, cores) for job, each in zip(jobs, seconds, strict=True)) / cores
    on_gpu = sum(each for job, each in zip(jobs, seconds, strict=True) if job.gpus)
    ends: list[float] = []
    for job, each in zip(jobs, seconds, strict=True):
        ends.append(each + max((ends[place] for place in job.after), default=0.0))
    return max(work, on_gpu, *ends)


def in_words(seconds: float) -> str:
    """40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
