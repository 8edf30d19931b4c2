"""Clips to predict: named on a command line, listed in a CSV, or given from Python."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from equimodal.datasets.tracks import probe
from equimodal.errors import UserError
from equimodal.features.arrays import SUFFIXES, locate
from equimodal.inference.description import Description

HEARD = ("spectrogram",)
PATHS = ("path", "file", "clip", "filename")
"""Columns of a CSV that hold a clip's media file, the first that there is; a modality's own column goes before."""


@dataclass(frozen=True)
class Clip:
    """One sample.

    Attributes:
        id: name in the output; it also seeds noise that the features add (`noise_snr_db`).
        files: modality -> file; of arrays also a place in one, as text.npy#12.
        arrays: modality -> row as data/D/features/m.npy holds it (a sequence may be shorter).
        start, end: the part of the media that is meant, in seconds; None: its beginning or end.
    """

    id: str
    files: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, "np.ndarray[Any, Any]"] = field(default_factory=dict)
    start: float | None = None
    end: float | None = None


def given(clips: Any, about: Description) -> list[Clip]:
    """Clips of what a Python caller gives: one, or a sequence, of files, {modality: file or array}, or `Clip`.

    Raises:
        UserError: none of these, or a modality that the model has not.
    """
    one = isinstance(clips, str | os.PathLike | Mapping | Clip)
    found = []
    for number, item in enumerate([clips] if one else clips):
        if isinstance(item, Clip):
            _known(item.files, about, item.id)
            _known(item.arrays, about, item.id)
            found.append(item)
        elif isinstance(item, Mapping):
            _known(item, about, f"clip {number}")
            arrays = {name: np.asarray(value) for name, value in item.items() if not _is_path(value)}
            files = {name: os.fspath(value) for name, value in item.items() if _is_path(value)}
            found.append(Clip(_stem(next(iter(files.values()))) if files else str(number), files, arrays))
        elif _is_path(item):
            found += named([os.fspath(item)], about)
        else:
            raise UserError(
                f"clip {number} is a {type(item).__name__}: give a file, a dict {{modality: file or array}}, or"
                " equimodal.Clip(...)"
            )
    return found


def named(words: Iterable[str], about: Description) -> list[Clip]:
    """Clips of a command line's words: a media file, all that belongs to one clip as audio=a.wav,visual=b.mp4, or a
    CSV. Files of one name of which each has tracks for a modality (1001.wav, 1001.flv) are one clip.

    Raises:
        UserError: a modality that the model has not; a CSV that cannot be read; no word at all.
    """
    found: list[Clip] = []
    alone: dict[str, list[str]] = {}
    for word in words:
        if word.lower().endswith(".csv") and "=" not in PurePath(word).name:
            found += listed(Path(word), about)
        elif (parts := _assigned(word, about)) is not None:
            found.append(Clip(_stem(next(iter(parts.values()))), parts))
        else:
            alone.setdefault(_stem(locate(word)[0]), []).append(word)
    found += [clip for stem, files in alone.items() for clip in _together(stem, files, about)]
    if not found:
        raise UserError("no clip is named: give files, a CSV, or - and paths on standard input, one a line")
    return found


def listed(path: Path, about: Description) -> list[Clip]:
    """Clips of a CSV: a column of files (`PATHS`) or one per modality, named as it is; `id`, `start` and `end` where
    there are such columns. Paths are relative to the CSV's folder.

    Raises:
        UserError: unreadable, no column of files, an empty cell, a bad number; with the line.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            present = [name for name in reader.fieldnames or () if name]
            rows = ((f"{path}, line {reader.line_num}", row) for row in reader)
            clips = tabled(rows, present, about, path.parent, str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the path") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a UTF-8 CSV file ({error}): save it as CSV, UTF-8, comma-separated") from None
    if not clips:
        raise UserError(f"{path} has no rows below its header: one row per clip is needed")
    return clips


def tabled(
    rows: Iterable[tuple[str, Mapping[str, Any]]], present: Sequence[str], about: Description, folder: Path, table: str
) -> list[Clip]:
    """Clips of a table's rows of text, columns as in `listed`.

    Args:
        rows: where each is (for messages) and {column: cell}.
        present: the table's columns.
        folder: what paths are relative to.
        table: its name, for messages.

    Raises:
        UserError: no column of files, an empty cell, a bad number.
    """
    own = [name for name in about.modalities if name in present]
    shared = next((name for name in PATHS if name in present), None)
    if shared is None and not own:
        raise UserError(
            f"{table} has no column of files: name one {PATHS[0]} (a media file with every modality), or one each"
            f" {', '.join(about.modalities)}; it has: {', '.join(present) or 'none'}"
        )
    return [_row(row, where, folder, shared, own, about) for where, row in rows]


def _row(
    row: Mapping[str, Any], where: str, folder: Path, shared: str | None, own: Sequence[str], about: Description
) -> Clip:
    def cell(name: str | None) -> str:
        return (row.get(name) or "").strip() if name else ""

    media = cell(shared)
    files = {entry.name: media for entry in about.inputs if media and not entry.array}
    files |= {name: cell(name) for name in own if cell(name)}
    if not files:
        raise UserError(f"{where}: no file is named")
    times: dict[str, float | None] = {}
    for name in ("start", "end"):
        try:
            times[name] = float(cell(name)) if cell(name) else None
        except ValueError:
            raise UserError(f"{where}: '{cell(name)}' in column '{name}' is no number of seconds") from None
    start, end = times["start"], times["end"]
    if (start is not None and start < 0) or (end is not None and end <= (start or 0.0)):
        raise UserError(f"{where}: from {start or 0.0:g} s to {end} s is no part of a clip")
    name = cell("id") or _stem(next(iter(files.values()))) + ("" if start is None else f"@{start:g}")
    return Clip(name, {modality: str(folder / file) for modality, file in files.items()}, {}, start, end)


def _assigned(word: str, about: Description) -> dict[str, str] | None:
    """audio=a.wav,visual=b.mp4 as {modality: file}; None for a plain file."""
    name, equals, _ = word.partition("=")
    if not equals or Path(word).exists() or "/" in name:
        return None
    parts: dict[str, str] = {}
    for piece in word.split(","):
        name, equals, file = piece.partition("=")
        if not equals or not file:
            raise UserError(f"'{word}': write modality=file for every modality, with commas between them")
        _known([name], about, f"'{word}'")
        parts[name] = file
    return parts


def _together(stem: str, files: list[str], about: Description) -> list[Clip]:
    """The clips that plain files of one stem are: one, if each is the best to read some modality from; else each."""
    media = [entry for entry in about.inputs if not entry.array]
    arrays = [entry.name for entry in about.inputs if entry.array]
    if all(locate(file)[0].lower().endswith(SUFFIXES) for file in files) and arrays:
        if len(arrays) > 1:
            raise UserError(
                f"{files[0]}: the model reads arrays of {', '.join(arrays)}: say which this is, as {arrays[0]}=FILE"
            )
        return [Clip(_stem(file), {arrays[0]: file}) for file in files]
    if len(files) > 1:
        tracks = {file: probe(file) for file in files}
        # Of a sound file and a clip that has sound, too, the sound file is meant.
        plain = sorted(files, key=lambda file: tracks[file].audio + tracks[file].video)
        parts = {
            entry.name: next((f for f in plain if (tracks[f].audio if entry.kind in HEARD else tracks[f].video)), None)
            for entry in media
        }
        if set(parts.values()) == set(files):
            return [Clip(stem, {name: file for name, file in parts.items() if file is not None})]
    return [Clip(_stem(file), {entry.name: file for entry in media}) for file in files]


def _known(names: Iterable[str], about: Description, where: str) -> None:
    for name in names:
        if name not in about.modalities:
            raise UserError(f"{where}: the model has no modality '{name}'; it has: {', '.join(about.modalities)}")


def _is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def _stem(file: str) -> str:
    return PurePath(file).stem
