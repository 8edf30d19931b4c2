"""Stage verify: compare a dataset's files with their published (or recorded) names, sizes and checksums."""

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from equimodal.datasets.base import DatasetKind, FileFact, some_of
from equimodal.datasets.pointers import is_pointer, pointed_bytes, pull
from equimodal.datasets.registry import dataset_kind
from equimodal.errors import UserError
from equimodal.features import pool
from equimodal.params import Params
from equimodal.progress import watched
from equimodal.store import atomic, file_sha256

POINTER = "LFS pointer"
FAULTS = ("missing", "unreadable", POINTER, "wrong size", "wrong checksum")
# Rows of the table; what is printed stays on one screen, whatever the number of faults.
FOLDERS = 12
Facts = Mapping[str, FileFact | None]


def run(params: Params, dataset: str) -> None:
    """Print a table of what is right and wrong by folder and some of the faulty files; all of them, and files that do
    not belong there, to logs/verify/D.txt. Where sizes and checksums cannot be had (no network), names, counts and LFS
    pointers are checked.

    Raises:
        UserError: something is wrong, or there is nothing to compare with.
    """
    kind = dataset_kind(dataset, params.dataset(dataset), params.runtime.workers)
    expected = known(kind)
    if not expected:
        raise UserError(
            f"{dataset}: nothing to compare with yet: build it first (snakemake --cores 4 --"
            f" {(kind.produced / 'manifest.json').as_posix()})"
        )
    paths = sorted(expected)
    jobs = [(path, str(Path(kind.root) / path), expected[path]) for path in paths]
    results = pool.run(_check, jobs, params.runtime.workers, lambda job: job[0], (__name__,))
    faults = dict(watched(results, len(jobs), f"{dataset}: verifying", "files"))
    strays = kind.strays(paths)
    show(dataset, kind.root, expected, faults, strays)
    written = write_list(dataset, kind.root, expected, faults, strays)
    counted = Counter(fault for fault in faults.values() if fault is not None)
    if counted:
        told = ", ".join(f"{counted[fault]} {fault}" for fault in FAULTS if counted[fault])
        raise UserError(
            f"{dataset}: {counted.total()} of {len(paths)} files in {kind.root} are not as they should be ({told}; all"
            f" in {written}): " + _advice(kind.root, set(counted))
        )


def _advice(root: str, faults: set[str]) -> str:
    again = "fetch the others again" if POINTER in faults else "fetch those again"
    return "; ".join([*([pull(root)] if POINTER in faults else []), *([again] if faults != {POINTER} else [])])


def known(kind: DatasetKind) -> Facts:
    """File -> its size and checksum, or the size that the raw stage found where nothing better can be had, or None:
    its name only.
    """
    found = recorded(kind)
    try:
        return kind.expected(found)
    except UserError as error:
        names = kind.names()
        if not names:
            raise
        print(f"{kind.name}: {error}; names, counts and LFS pointers are checked", file=sys.stderr)
        return {name: found.get(name) for name in names}


def recorded(kind: DatasetKind) -> dict[str, FileFact]:
    """What the raw stage wrote down; empty if it has not run."""
    from equimodal.stages.index import read_files

    return read_files(kind.name) if (kind.produced / "manifest.json").is_file() else {}


def _check(job: tuple[str, str, FileFact | None]) -> tuple[str, str | None]:
    name, path, fact = job
    return name, fault_of(Path(path), fact)


def fault_of(path: Path, fact: FileFact | None) -> str | None:
    """None if a file is as it should be, else one of FAULTS; without a known sha256 sizes only are compared, without
    any fact nothing but whether it is there.
    """
    try:
        if not path.is_file():
            return "missing"
        if is_pointer(path):
            return POINTER
        if fact is None:
            return None
        if path.stat().st_size != fact.bytes:
            return "wrong size"
        return "wrong checksum" if fact.sha256 is not None and file_sha256(path) != fact.sha256 else None
    except OSError:
        return "unreadable"


def show(dataset: str, root: str, expected: Facts, faults: Mapping[str, str | None], strays: list[str]) -> None:
    """A table by folder on stdout, then one line per fault with the first files that have it."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{dataset}: {root}")
    table.add_column("folder")
    unchecked = any(fact is None for fact in expected.values())
    found = {*faults.values(), *(["stray"] if strays else [])}
    seen = [fault for fault in (*FAULTS, "stray") if fault in found]
    for heading in ("files", "there" if unchecked else "right", *seen):
        table.add_column(heading, justify="right")
    for folder, counted in _rows(faults, strays):
        numbers = (counted[fault] for fault in (None, *seen))
        files = sum(number for fault, number in counted.items() if fault != "stray")
        table.add_row(folder, *(f"{number:,}" for number in (files, *numbers)))
    Console().print(table)
    for fault in FAULTS:
        names = sorted(path for path, found in faults.items() if found == fault)
        if names:
            print(f"{fault}: {some_of(names)}")
    if strays:
        print(f"stray, read by nothing: {some_of(strays)}")


def _rows(faults: Mapping[str, str | None], strays: list[str]) -> list[tuple[str, Counter[str | None]]]:
    """(Folder, files by fault); of many folders those with most faults, and the sum of the others."""
    by_folder: dict[str, Counter[str | None]] = {}
    for path, fault in [*faults.items(), *((path, "stray") for path in strays)]:
        by_folder.setdefault(Path(path).parent.as_posix(), Counter())[fault] += 1
    if len(by_folder) <= FOLDERS:
        return sorted(by_folder.items())
    ranked = sorted(by_folder.items(), key=lambda item: (item[1][None] - item[1].total(), item[0]))
    first, others = ranked[: FOLDERS - 1], ranked[FOLDERS - 1 :]
    return [*sorted(first), (f"{len(others)} others", sum((counted for _, counted in others), Counter()))]


def write_list(
    dataset: str, root: str, expected: Facts, faults: Mapping[str, str | None], strays: list[str]
) -> Path | None:
    """Every faulty file with its sizes and every stray one, a line each, in logs/verify/D.txt; None, and no file,
    where there are none.
    """
    path = Path("logs") / "verify" / f"{dataset}.txt"
    lines = [f"{fault}: {name}{_sizes(Path(root) / name, expected[name])}" for name, fault in faults.items() if fault]
    lines += [f"stray: {name}" for name in strays]
    if not lines:
        path.unlink(missing_ok=True)
        return None
    with atomic(path) as scratch:
        scratch.write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="utf-8")
    return path


def _sizes(path: Path, fact: FileFact | None) -> str:
    """' (57702 bytes expected, 131 found)', as far as they are known."""
    size = pointed_bytes(path) or (fact.bytes if fact is not None else None)
    known = [f"{size} bytes expected"] if size is not None else []
    try:
        known.append(f"{path.stat().st_size} found")
    except OSError:
        pass
    return f" ({', '.join(known)})" if known else ""
