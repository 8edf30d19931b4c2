"""Stage verify: compare a dataset's files with their published (or recorded) sizes and checksums."""

from collections.abc import Mapping
from pathlib import Path

from equimodal.datasets.base import DatasetKind, FileFact
from equimodal.datasets.registry import dataset_kind
from equimodal.errors import UserError
from equimodal.features import pool
from equimodal.params import Params
from equimodal.progress import watched
from equimodal.store import file_sha256

FAULTS = ("missing", "unreadable", "wrong size", "wrong checksum")


def run(params: Params, dataset: str) -> None:
    """Print a table of what is right and wrong, then every faulty file.

    Raises:
        UserError: something is wrong, or there is nothing to compare with.
    """
    kind = dataset_kind(dataset, params.dataset(dataset), params.runtime.workers)
    expected = kind.expected(recorded(kind))
    if not expected:
        raise UserError(
            f"{dataset}: nothing to compare with yet: build it first (snakemake --cores 4 --"
            f" {(kind.produced / 'manifest.json').as_posix()})"
        )
    paths = sorted(expected)
    jobs = [(path, str(Path(kind.root) / path), expected[path]) for path in paths]
    results = pool.run(_check, jobs, params.runtime.workers, lambda job: job[0], (__name__,))
    faults = dict(watched(results, len(jobs), f"{dataset}: verifying", "files"))
    show(dataset, kind.root, expected, faults)
    wrong = sum(fault is not None for fault in faults.values())
    if wrong:
        raise UserError(
            f"{dataset}: {wrong} of {len(paths)} files in {kind.root} are not as they should be (listed"
            " above): fetch those again"
        )


def recorded(kind: DatasetKind) -> dict[str, FileFact]:
    """What the raw stage wrote down; empty if it has not run."""
    from equimodal.stages.index import read_files

    return read_files(kind.name) if (kind.produced / "manifest.json").is_file() else {}


def _check(job: tuple[str, str, FileFact]) -> tuple[str, str | None]:
    name, path, fact = job
    return name, fault_of(Path(path), fact)


def fault_of(path: Path, fact: FileFact) -> str | None:
    """None if a file is as it should be, else one of FAULTS; without a known sha256 sizes only are compared."""
    try:
        if not path.is_file():
            return "missing"
        if path.stat().st_size != fact.bytes:
            return "wrong size"
        return "wrong checksum" if fact.sha256 is not None and file_sha256(path) != fact.sha256 else None
    except OSError:
        return "unreadable"


def show(dataset: str, root: str, expected: Mapping[str, FileFact], faults: Mapping[str, str | None]) -> None:
    """A table by folder on stdout, then one line per faulty file."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{dataset}: {root}")
    table.add_column("folder")
    for heading in ("files", "right", *FAULTS):
        table.add_column(heading, justify="right")
    by_folder: dict[str, list[str]] = {}
    for path in expected:
        by_folder.setdefault(Path(path).parent.as_posix(), []).append(path)
    for folder, paths in sorted(by_folder.items()):
        found = [faults[path] for path in paths]
        table.add_row(
            folder,
            *(f"{number:,}" for number in (len(paths), found.count(None), *(found.count(fault) for fault in FAULTS))),
        )
    Console().print(table)
    for path, fault in sorted(faults.items()):
        if fault is not None:
            print(f"{fault}: {path}")
