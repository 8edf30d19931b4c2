"""A CSV whose columns are not known yet: which of them is the label, the split, the group, and which name files."""

import csv
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from equimodal.datasets.base import some_of
from equimodal.datasets.table.dataset import SPLIT_WORDS
from equimodal.errors import UserError
from equimodal.features.arrays import SUFFIXES, locate

LOOKED_AT = 10  # files

# Names of columns, as `_plain` writes them, by what they hold; the first that there is.
NAMES = {
    "label": ("label", "labels", "class", "classname", "category", "target", "emotion", "sentiment", "action", "y"),
    "split": ("split", "set", "subset", "part", "partition", "fold", "usage"),
    "group": (
        *("group", "speaker", "speakerid", "actor", "actorid", "subject", "subjectid", "person", "personid"),
        *("participant", "participantid", "singer", "user", "userid", "session", "videoid", "source"),
    ),
    "start": ("start", "starttime", "startseconds", "begin", "from", "onset"),
    "end": ("end", "endtime", "endseconds", "stop", "to", "offset"),
    "id": ("id", "sampleid", "sample", "utteranceid", "utterance", "key", "name"),
}


@dataclass(frozen=True)
class Sheet:
    """A CSV: its columns, and its rows of text without blanks around."""

    path: Path
    columns: list[str]
    rows: list[dict[str, str]]

    @classmethod
    def read(cls, path: Path) -> "Sheet":
        """Read it.

        Raises:
            UserError: no such file, not a CSV in UTF-8, no rows, a column without or with another's name.
        """
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, skipinitialspace=True)
                columns = list(reader.fieldnames or ())
                rows = [{name: (row.get(name) or "").strip() for name in columns} for row in reader]
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}): name your CSV") from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(
                f"{path} is not a UTF-8 CSV file ({error}): save it as CSV, UTF-8, comma-separated"
            ) from None
        if len(columns) < 2:
            raise UserError(
                f"{path} has one column only ('{''.join(columns)}'): a header and at least a file and a label,"
                " separated by commas, are needed"
            )
        if not all(columns) or len(set(columns)) < len(columns):
            raise UserError(f"{path}: every column needs a name of its own in the first line; it has: {columns}")
        if not rows:
            raise UserError(f"{path} has no rows below its header: one row per sample is needed")
        return cls(path, columns, rows)

    def values(self, column: str) -> list[str]:
        """The column's cells [N]."""
        return [row[column] for row in self.rows]

    def named(self, role: str, taken: Collection[str | None] = ()) -> str | None:
        """The column that is named as one with that role, of those that are not taken."""
        plain = {_plain(name): name for name in reversed(self.columns) if name not in taken}
        return next((plain[name] for name in NAMES[role] if name in plain), None)


@dataclass
class Reading:
    """What the columns of a CSV are.

    Attributes:
        columns: role -> column, as `columns` of a table; `path` is left to `media`.
        media: columns with media files.
        arrays: columns with one array file per row.
        split: as `split` of a table.
        task: keys `task` and `regression` of a dataset of numbers; empty for classes.
        notes: what a person should know or decide, one line each.
    """

    columns: dict[str, str] = field(default_factory=dict)
    media: list[str] = field(default_factory=list)
    arrays: list[str] = field(default_factory=list)
    split: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_columns(sheet: Sheet, root: Path, given: Mapping[str, str], without_files: bool = False) -> Reading:
    """What each column is, by its name and its cells.

    Args:
        root: folder that paths in cells are relative to.
        given: role -> column, that a person named.
        without_files: nothing is wrong where no column names files.

    Raises:
        UserError: what cannot be told, with what to say: an unknown role or column, no file found, no label, an empty
            label, one class only.
    """
    for role, column in given.items():
        if role not in ("path", *NAMES):
            raise UserError(f"--column {role}={column}: roles are path, {', '.join(NAMES)}")
        if column not in sheet.columns:
            raise UserError(f"{sheet.path} has no column '{column}'; it has: {', '.join(sheet.columns)}")
    found = Reading()
    found.media, found.arrays = _file_columns(sheet, root, given.get("path"))
    if not found.media and not found.arrays and not without_files:
        raise UserError(_nothing_found(sheet, root))
    files = {*found.media, *found.arrays}
    roles = {role: given.get(role) or sheet.named(role, files) for role in NAMES}
    label = roles["label"] or _only_label(sheet, {*files, *roles.values()})
    found.columns = {"label": label}
    _times(sheet, roles, found)
    _divide(sheet, roles, given, found)
    name = roles["id"]
    if not found.media and name and "" not in (ids := sheet.values(name)) and len(set(ids)) == len(ids):
        found.columns["id"] = name
    _judge_labels(sheet, label, found)
    return found


def spread(values: Sequence[str], count: int = LOOKED_AT) -> list[str]:
    """So many different values, evenly spaced over the list."""
    different = list(dict.fromkeys(value for value in values if value))
    places = np.linspace(0, len(different) - 1, min(count, len(different))).round().astype(int)
    return [different[place] for place in places]


def number(cell: str) -> float | None:
    """The finite number that a cell holds, if it does."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _file_columns(sheet: Sheet, root: Path, given: str | None) -> tuple[list[str], list[str]]:
    """The columns of media (the given one alone, if any), and of arrays: whose cells name files that are there."""
    media: list[str] = []
    arrays: list[str] = []
    for column in sheet.columns:
        cells = spread(sheet.values(column))
        there = [cell for cell in cells if "\0" not in cell and (root / locate(cell)[0]).is_file()]
        if not there:
            continue
        is_array = all(Path(locate(cell)[0]).suffix.lower() in SUFFIXES for cell in there)
        (arrays if is_array else media).append(column)
    if given is not None:
        if given not in media:
            missing = spread(sheet.values(given), 1)
            raise UserError(
                f"column '{given}' of {sheet.path} names no media file below {root} (as '{''.join(missing)}'): set"
                " --root, the folder that the paths are relative to"
            )
        return [given], arrays
    return media, arrays


def _nothing_found(sheet: Sheet, root: Path) -> str:
    likely = [name for name in sheet.columns if re.search(r"[/\\]|\.\w{2,4}$", sheet.rows[0][name])]
    example = f" (as '{sheet.rows[0][likely[0]]}' in column '{likely[0]}')" if likely else ""
    return (
        f"no column of {sheet.path} names files that are below {root}{example}: set --root, the folder that the paths"
        " are relative to, or --array NAME=FILE for an array with one row per sample"
    )


def _only_label(sheet: Sheet, taken: Collection[str | None]) -> str:
    """The one column that is left and has values that repeat."""
    counts = {name: len(set(sheet.values(name))) for name in sheet.columns if name not in taken}
    fit = [name for name, count in counts.items() if 2 <= count <= max(2, len(sheet.rows) // 2)]
    if len(fit) == 1:
        return fit[0]
    listed = ", ".join(f"{name} ({counts[name]} different)" for name in fit or counts) or "none"
    raise UserError(f"which column of {sheet.path} is the label? Say --column label=NAME; it has: {listed}")


def _times(sheet: Sheet, roles: Mapping[str, str | None], found: Reading) -> None:
    for role in ("start", "end"):
        column = roles[role]
        if column is None:
            continue
        if all(not cell or number(cell) is not None for cell in sheet.values(column)):
            found.columns[role] = column
        else:
            found.notes.append(f"column '{column}' holds no seconds, and is not taken for the {role} of a part")


def _divide(sheet: Sheet, roles: Mapping[str, str | None], given: Mapping[str, str], found: Reading) -> None:
    """The split rule, and what must not be on two sides."""
    group = roles["group"]
    if group is not None and (not all(sheet.values(group)) or len(set(sheet.values(group))) < 2):
        found.notes.append(f"column '{group}' is empty in places or always the same, and is not taken for the group")
        group = None
    shared = next((name for name in found.media if len(set(sheet.values(name))) < len(sheet.rows)), None)
    if group is None and shared is not None and all(sheet.values(shared)):
        group = shared
        found.notes.append(f"several samples come from one file, so that '{group}' is the group that stays together")
    split = roles["split"]
    words = [SPLIT_WORDS.get(cell.lower()) for cell in sheet.values(split)] if split else []
    if split is not None and (None in words or not {"train", "test"} <= set(words)):
        message = f"column '{split}' of {sheet.path} does not say train, val (may be absent) or test in every row"
        if "split" in given:
            raise UserError(f"{message}: mend it, or leave out --column split={split}")
        found.notes.append(f"{message}, and is not taken for the split")
        split = None
    if group is not None:
        found.columns["group"] = group
    if split is not None:
        found.columns["split"] = split
        rule: dict[str, Any] = {"rule": "column"}
        if "val" not in words:
            rule["validation_by"] = "group" if group else "stratified"
            found.notes.append(f"'{split}' has no validation rows: 15 % of the training rows are held out to choose on")
    elif group is not None:
        groups = len(set(sheet.values(group)))
        rule = {"rule": "actor", "folds": min(5, groups)}
        found.notes.append(f"split by whole groups of '{group}' ({groups}): one fold of {rule['folds']} is the test")
    else:
        rule = {"rule": "stratified"}
        found.notes.append(
            "no split and no group column: a fifth of each class is the test. If one speaker, video or session made"
            " several clips, name its column (--column group=NAME), or results are too good"
        )
    found.split = rule


def _judge_labels(sheet: Sheet, label: str, found: Reading) -> None:
    """Numbers with fractions are a regression, all else are classes."""
    labels = sheet.values(label)
    if "" in labels:
        raise UserError(
            f"{sheet.path}: column '{label}' is empty in {labels.count('')} of {len(labels)} rows: every row needs a"
            " label (--column label=NAME if it is another column)"
        )
    classes = sorted(set(labels))
    if len(classes) < 2:
        found_only = "one class only" if number(classes[0]) is None else "the same number in every row"
        raise UserError(
            f"{sheet.path} has {found_only} ('{classes[0]}' in column '{label}'), nothing to learn: --column label=NAME"
        )
    numbers = [number(cell) for cell in classes]
    values = [value for value in numbers if value is not None]
    if len(values) == len(classes) and any(value != int(value) for value in values):
        found.notes.append(f"'{label}' holds numbers with fractions: a regression (docs/regression.md)")
        limits = {"low": math.floor(min(values)), "high": math.ceil(max(values))}
        found.task = {"task": "regression", "regression": limits}
        return
    rare = [name for name in classes if labels.count(name) < 5]
    if rare:
        found.notes.append(
            f"{len(rare)} of {len(classes)} classes have fewer than 5 samples ({some_of(rare)}): one may be absent"
            " from a split, which is refused"
        )
