"""Your own data: a CSV with one row per sample; any container that FFmpeg reads."""

import csv
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import ClassVar

from equimodal.datasets.base import DatasetKind, FileFact, Listing, Sample, seconds, size_of, some_of
from equimodal.datasets.table import arrays
from equimodal.datasets.table.settings import TableSettings, sources
from equimodal.errors import UserError
from equimodal.features.arrays import locate
from equimodal.settings.features import ArraySettings

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Row:
    """One row of the table; `line` is its line in the file, for messages.

    `media`: modality -> path, None where its cell is empty; `arrays`: likewise, of those that have a column.
    """

    line: int
    media: Mapping[str, str | None]
    label: str
    id: str | None
    split: str | None
    group: str | None
    start: float | None
    end: float | None
    arrays: Mapping[str, str | None]

    @property
    def files(self) -> tuple[str, ...]:
        """Its different media files, in the order of the modalities."""
        return tuple(dict.fromkeys(path for path in self.media.values() if path is not None))


class Table(DatasetKind):
    """Media modalities are read from one file per row or one each, or from the row's part of it; arrays from files of
    their own.
    """

    settings: TableSettings
    optional: ClassVar[tuple[str, ...]] = ("id", "split", "group", "start", "end")

    @property
    def root(self) -> str:
        """The setting `root`."""
        return self.settings.root

    @property
    def table(self) -> Path:
        """The CSV file."""
        return Path(self.settings.root) / self.settings.table

    def acquire(self, scratch: Path) -> dict[str, FileFact]:
        """Sizes of the files the table names, and the table's own checksum."""
        from equimodal.store import file_sha256

        rows = self.rows()
        facts: dict[str, FileFact] = {}
        advice = [f"mend {self.table}, line {row.line}, or {self.key('root')} = {self.root}" for row in rows]
        for row, where in zip(rows, advice, strict=True):
            for path in row.files:
                if path not in facts:
                    facts[path] = FileFact(size_of(Path(self.root) / path, where))
        facts.update(arrays.facts(self.arrays, Path(self.root), [row.arrays for row in rows], advice))
        self._stacked(rows)  # what disagrees is told here, before anything else is built
        facts[self.settings.table] = FileFact(self.table.stat().st_size, file_sha256(self.table))
        return facts

    def listing(self, files: Mapping[str, FileFact]) -> Listing:
        """One sample per row; class names in alphabetical order, or by value where all are whole numbers."""
        rows = self.rows()
        for row in rows:
            needed = {path: path for path in row.files} | {p: locate(p)[0] for p in row.arrays.values() if p}
            for path, file in needed.items():
                if file not in files:
                    raise UserError(
                        f"{self.table}, line {row.line}: {path} is not in the raw manifest: the table has"
                        " changed, run raw again"
                    )
        labels = {row.label for row in rows}
        if len(labels) < 2:
            found = "one class only" if self.settings.numbers is None else "the same number in every row"
            raise UserError(
                f"{self.table} has {found} ('{labels.pop()}' in column"
                f" '{self.settings.columns.label}'), nothing to learn: check {self.key('columns.label')}"
            )
        stacked = self._stacked(rows)
        samples = []
        for number, (name, row) in enumerate(zip(_ids(rows), rows, strict=True)):
            arrays = {**row.arrays, **{modality: paths[number] for modality, paths in stacked.items()}}
            paths = {modality: {**row.media, **arrays}[modality] for modality in self.settings.modalities}
            samples.append(Sample(name, row.label, paths, row.group, row.split, row.start, row.end))
        whole = all(label.lstrip("-").isdigit() for label in labels)
        return Listing(tuple(sorted(labels, key=(lambda label: (int(label), label)) if whole else None)), samples)

    @property
    def arrays(self) -> dict[str, ArraySettings]:
        """The modalities that are arrays."""
        return sources(self.settings.modalities)

    def _stacked(self, rows: list[Row]) -> dict[str, list[str]]:
        return arrays.stacked(self.arrays, Path(self.root), len(rows), self.table, self.key("modalities"))

    def rows(self) -> list[Row]:
        """Read and check the table.

        Raises:
            UserError: no such file, not a CSV, a missing column (the columns there are), a bad number, an end before
                its start, an unknown split, a path outside root, the same sample twice; with the line.
        """
        try:
            with open(self.table, encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, skipinitialspace=True)
                present = [name for name in reader.fieldnames or () if name]
                self._check_columns(present)
                rows = [self._row(reader.line_num, raw) for raw in reader]
        except FileNotFoundError:
            raise UserError(
                f"{self.table} does not exist: set {self.key('root')} and {self.key('table')} to your CSV"
            ) from None
        except OSError as error:
            raise UserError(
                f"{self.table} cannot be read ({error.strerror}): check {self.key('root')} and {self.key('table')}"
            ) from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(
                f"{self.table} is not a UTF-8 CSV file ({error}): save it as CSV, UTF-8, comma-separated"
            ) from None
        if not rows:
            raise UserError(f"{self.table} has no rows below its header: one row per sample is needed")
        seen: dict[tuple[object, ...], Row] = {}
        for row in rows:
            other = seen.setdefault((row.files, row.start, row.end), row) if row.files else row
            if other is not row:
                differ = "" if row.label == other.label else f", with labels '{other.label}' and '{row.label}'"
                raise UserError(
                    f"{self.table}: lines {other.line} and {row.line} are the same sample"
                    f" ({', '.join(row.files)}{differ}): remove one, or add start and end"
                )
            twin = row if row.id is None else seen.setdefault((row.id,), row)
            if twin is not row:
                raise UserError(
                    f"{self.table}: lines {twin.line} and {row.line} have the same {self.settings.columns.id}"
                    f" '{row.id}': ids must be unique"
                )
        return rows

    def _check_columns(self, present: list[str]) -> None:
        """Every column that params.yaml names must be there, once."""
        columns = self.settings.columns
        named: dict[str, str | None] = {
            self._path_key(modality): column for modality, column in self.settings.media.items()
        }
        named |= {f"columns.{role}": getattr(columns, role) for role in ("label", *self.optional)}
        named |= {f"modalities.{modality}.column": feature.column for modality, feature in self.arrays.items()}
        for role, name in named.items():
            if name is not None and name not in present:
                raise UserError(
                    f"{self.table} has no column '{name}' ({self.key(role)}); it has: {', '.join(present) or 'none'}"
                )
        twice = [name for name, number in Counter(present).items() if number > 1]
        if twice:
            raise UserError(f"{self.table} has two columns named {some_of(twice)}: rename one")

    def _row(self, line: int, raw: Mapping[str, str | None]) -> Row:
        """One checked row."""
        columns = self.settings.columns
        where = f"{self.table}, line {line}"

        def cell(column: str | None) -> str:
            return ((raw.get(column) or "") if column else "").strip()

        values = {role: cell(getattr(columns, role)) for role in ("label", *self.optional)}
        for role in ("label", *(["id"] if columns.id else [])):
            if not values[role]:
                raise UserError(f"{where}: column '{getattr(columns, role)}' is empty: every row needs a {role}")
        named = {modality: cell(column) for modality, column in self.settings.media.items()}
        if named and not any(named.values()):
            empty = "', '".join(dict.fromkeys(self.settings.media.values()))
            raise UserError(f"{where}: column '{empty}' is empty: every row needs a path")
        split = None
        if columns.split is not None and self.settings.split.rule == "column":
            split = SPLIT_WORDS.get(values["split"].lower())
            if split is None:
                raise UserError(
                    f"{where}: unknown split '{values['split']}' in column '{columns.split}': use train, val or test"
                )
        if columns.group is not None and not values["group"]:
            raise UserError(
                f"{where}: column '{columns.group}' is empty: every row needs a group, or leave out columns.group"
            )
        start, end = (
            seconds(values[role], f"{where}: '{values[role]}' in column '{getattr(columns, role)}'")
            for role in ("start", "end")
        )
        if end is not None and end <= (start or 0.0):
            raise UserError(
                f"{where}: end {end:g} s is not after start {start or 0.0:g} s: mend columns"
                f" '{columns.start}' and '{columns.end}'"
            )
        arrays = {
            name: self._path(path, where) if (path := cell(feature.column)) else None
            for name, feature in self.arrays.items()
            if feature.column
        }
        media = {modality: self._path(path, where) if path else None for modality, path in named.items()}
        return Row(
            line, media, values["label"], values["id"] or None, split, values["group"] or None, start, end, arrays
        )

    def _path_key(self, modality: str) -> str:
        """The setting that names a modality's column of media files."""
        return f"columns.path.{modality}" if isinstance(self.settings.columns.path, dict) else "columns.path"

    def _path(self, written: str, where: str) -> str:
        """A path relative to root, normalised; absolute ones are the user's own choice and stay."""
        if "\0" in written:
            raise UserError(f"{where}: the path holds a NUL character")
        # Not resolve(): links inside root may lead elsewhere, that is the user's own arrangement
        path = Path(os.path.normpath(written))
        if not path.is_absolute() and path.parts[:1] == ("..",):
            raise UserError(
                f"{where}: '{written}' leaves the folder {self.root}: write an absolute path, or set"
                f" {self.key('root')} higher up"
            )
        return path.as_posix()


def _ids(rows: list[Row]) -> list[str]:
    """Short unique names: the column's, or the first file's stem (as much of its path as needed) with the times where a
    clip holds several samples.

    Without media the number of the row, counted from 0 as in a file that holds all rows.
    """
    if rows[0].id is not None:
        return [row.id or "" for row in rows]
    if not rows[0].files:
        return [f"{number:0{len(str(len(rows) - 1))}d}" for number in range(len(rows))]
    first = [row.files[0] for row in rows]
    paths = sorted(set(first))
    for shorten in (
        lambda path: PurePath(path).stem,
        lambda path: PurePath(path).with_suffix("").as_posix(),
        lambda path: path,
    ):
        short = {path: shorten(path) for path in paths}
        if len(set(short.values())) == len(paths):
            break
    uses = Counter(first)
    starts = Counter((path, row.start) for path, row in zip(first, rows, strict=True))
    names = []
    for path, row in zip(first, rows, strict=True):
        name = short[path]
        if uses[path] > 1:
            name += f"@{(row.start or 0.0):g}" + (
                f"-{row.end:g}" if starts[path, row.start] > 1 and row.end is not None else ""
            )
        names.append(name)
    if len(set(names)) < len(names):  # times closer than %g tells apart, or a stem that looks like another's segment
        names = [f"{'+'.join(row.files)}@{row.start!r}-{row.end!r}" for row in rows]
    return names
