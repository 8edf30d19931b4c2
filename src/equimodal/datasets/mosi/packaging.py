"""The public packagings of CMU-MOSI: pickles of padded arrays by split, in two dialects.

`mosi_data.pkl` and `mosi_raw.pkl` (MultiBench, MulT): text, audio, vision [n, 50, width], labels, id; all aligned to
words, zeros before them. `unaligned_50.pkl`, `aligned_50.pkl` (MMSA): the same with regression_labels, text_bert (whose
second row is the words' mask), audio_lengths and vision_lengths; zeros behind. Steps are moved to the front here, so
that every packaging looks alike afterwards.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from equimodal.datasets.mosi.plain_pickle import load_plain
from equimodal.errors import UserError

MODALITIES = ("text", "audio", "vision")
SPLITS = {"train": "train", "valid": "val", "val": "val", "dev": "val", "test": "test"}
LOW, HIGH = -3.0, 3.0  # what annotators could say
_SEGMENT = re.compile(r"(.+?)(?:\$_\$|\[|_)(\d+)\]?")


@dataclass(frozen=True)
class Packaging:
    """All samples of a packaging, split after split.

    `arrays`: modality -> [N, L, W] float32, zeros behind each sequence.
    `lengths`: modality -> [N] steps, 0 where there are none.
    """

    ids: list[str]
    videos: list[str | None]
    splits: list[str]
    labels: list[float]
    arrays: dict[str, np.ndarray]
    lengths: dict[str, np.ndarray]


def read_packaging(path: Path, key: str) -> Packaging:
    """Read a packaging; nothing that the file says is executed.

    Args:
        path: the pickle.
        key: full name of the setting that holds it, for messages.

    Raises:
        UserError: not such a pickle, a split or field that is missing, rows that disagree, labels out of range,
            an id twice.
    """
    content = load_plain(
        path, f"set {key} to mosi_data.pkl, mosi_raw.pkl, unaligned_50.pkl or another packaging in their form"
    )
    if isinstance(content, dict):
        content = {_text(name): fields for name, fields in content.items()}
    if not isinstance(content, dict) or {SPLITS.get(str(name)) for name in content} < {"train", "val", "test"}:
        names = ", ".join(map(str, content)) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise UserError(
            f"{path} is no packaging of CMU-MOSI: it holds {names[:100]}, not the splits train, valid and test"
        )
    parts = [_read_split(fields, f"{path}: {name}", SPLITS[name]) for name, fields in content.items() if name in SPLITS]
    joined = Packaging(
        [name for part in parts for name in part.ids],
        [name for part in parts for name in part.videos],
        [name for part in parts for name in part.splits],
        [label for part in parts for label in part.labels],
        {name: _stack([part.arrays[name] for part in parts], f"{path}: {name}") for name in MODALITIES},
        {name: np.concatenate([part.lengths[name] for part in parts]) for name in MODALITIES},
    )
    twice = len(joined.ids) - len(set(joined.ids))
    if twice:
        first = next(name for place, name in enumerate(joined.ids) if name in joined.ids[:place])
        raise UserError(f"{path}: {twice} ids come twice (first: {first}): every segment needs its own")
    return joined


def _stack(arrays: Sequence[np.ndarray], where: str) -> np.ndarray:
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1:
        raise UserError(
            f"{where} has another shape in each split: {', '.join(str(list(shape)) for shape in sorted(shapes))}"
        )
    return np.concatenate(arrays)


def _read_split(fields: Any, where: str, split: str) -> Packaging:
    """One split, checked."""
    if not isinstance(fields, Mapping) or any(name not in fields for name in MODALITIES):
        names = ", ".join(map(str, fields)) if isinstance(fields, Mapping) else f"a {type(fields).__name__}"
        raise UserError(f"{where} has no text, audio and vision: it holds {names[:100]}")
    arrays = {name: _array(fields[name], f"{where}: {name}") for name in MODALITIES}
    for name, array in arrays.items():
        if array.ndim == 3 and not array.size:
            raise UserError(f"{where}: {name} is {list(array.shape)}: it holds nothing")
        if array.ndim != 3 or array.dtype.kind not in "fiu":
            raise UserError(
                f"{where}: {name} is {array.dtype} {list(array.shape)}: numbers [samples, steps, width] are needed"
            )
    source = "regression_labels" if "regression_labels" in fields else "labels"
    if source not in fields:
        raise UserError(
            f"{where} has neither labels nor regression_labels: it holds {', '.join(map(str, fields))[:100]}"
        )
    labels = _array(fields[source], f"{where}: {source}")
    rows = {**{name: len(array) for name, array in arrays.items()}, source: labels.shape[0] if labels.ndim else 0}
    for name in ("id", "audio_lengths", "vision_lengths", "text_bert"):
        if fields.get(name) is not None:
            if not isinstance(fields[name], list | tuple | np.ndarray) or getattr(fields[name], "shape", None) == ():
                raise UserError(f"{where}: {name} is a {type(fields[name]).__name__}: one for each sample is needed")
            rows[name] = len(fields[name])
    if len(set(rows.values())) > 1:
        raise UserError(
            f"{where}: sequences of unequal batch:"
            f" {', '.join(f'{name} has {count} rows' for name, count in rows.items())}"
        )
    ids, videos = _names(fields.get("id"), len(labels), split, where)
    numbers = _labels(labels, ids, f"{where}: {source}")
    spans = _spans(fields, arrays, where)
    moved = {name: _to_front(arrays[name], *spans[name]) for name in MODALITIES}
    return Packaging(
        ids, videos, [split] * len(ids), numbers, moved, {name: end - start for name, (start, end) in spans.items()}
    )


def _labels(labels: np.ndarray, ids: Sequence[str], where: str) -> list[float]:
    """One number per sample, in range."""
    if labels.size != len(ids) or labels.dtype.kind not in "fiu":
        raise UserError(f"{where} is {labels.dtype} {list(labels.shape)}: one number per sample is needed")
    for name, value in zip(ids, labels.reshape(-1).tolist(), strict=True):
        if not (math.isfinite(value) and LOW <= value <= HIGH):
            raise UserError(
                f"{where}: labels out of range: {value:g} (segment {name}) is not in [{LOW:g}, {HIGH:g}]:"
                " this is not CMU-MOSI, or it is damaged"
            )
    return [float(value) for value in labels.reshape(-1)]


def _array(value: Any, where: str) -> np.ndarray:
    """Numbers in one array."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{where} has parts of different sizes: one array of numbers is needed ({error})") from None


def _names(ids: Any, count: int, split: str, where: str) -> tuple[list[str], list[str | None]]:
    """Id and video of every sample: from `video[3]`, `video$_$3`, `video_3`, or rows (video, start, end); numbered
    where there are no ids.
    """
    if ids is None:
        return [f"{split}-{row:04d}" for row in range(count)], [None] * count
    names: list[str] = []
    videos: list[str | None] = []
    for number, row in enumerate(ids):
        parts = [row] if isinstance(row, str | bytes) else _array(row, f"{where}: id").reshape(-1).tolist()
        if not parts or not isinstance(parts[0], str | bytes) or not _text(parts[0]):
            raise UserError(f"{where}: the id of row {number} is {str(row)[:80]!r}: text is needed")
        words = [_text(word) for word in parts]
        if len(words) > 1:
            names.append(f"{words[0]}@{words[1]}")
            videos.append(words[0])
            continue
        found = _SEGMENT.fullmatch(words[0])
        names.append(f"{found[1]}[{found[2]}]" if found else words[0])
        videos.append(found[1] if found else None)
    return names, videos


def _text(word: Any) -> str:
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)


def _spans(
    fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """First step and the one after the last of every sequence: stated lengths, else what is not zero;
    of aligned ones the words'.
    """
    stated = {
        name: _array(fields[f"{name}_lengths"], f"{where}: {name}_lengths")
        for name in ("audio", "vision")
        if fields.get(f"{name}_lengths") is not None
    }
    bert = _array(fields["text_bert"], f"{where}: text_bert") if fields.get("text_bert") is not None else None
    if bert is not None and bert.ndim == 3 and bert.shape[1] == 3 and bert.shape[2] == arrays["text"].shape[1]:
        stated["text"] = (bert[:, 1] > 0).sum(1)
    spans = {}
    for name, array in arrays.items():
        if name in stated:
            ends = stated[name]
            if ends.size != len(array) or ends.dtype.kind not in "iuf":
                raise UserError(
                    f"{where}: {name}_lengths is {ends.dtype} {list(ends.shape)}: one number per sample is needed"
                )
            ends = ends.reshape(-1)
            if not ((ends >= 0) & (ends <= array.shape[1]) & (ends == np.floor(ends))).all():
                raise UserError(
                    f"{where}: {name}_lengths are not whole numbers between 0 and the {array.shape[1]} steps of {name}"
                )
            spans[name] = (np.zeros(len(ends), np.int64), ends.astype(np.int64))
        else:
            spans[name] = _not_zero(array)
    aligned = len({array.shape[1] for array in arrays.values()}) == 1
    return {name: spans["text"] if aligned and name not in stated else spans[name] for name in arrays}


def _not_zero(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[n] first step that is not all zeros, [n] one after the last; 0, 0 where there is none."""
    real = (array != 0).any(axis=2)
    there = real.any(axis=1)
    start = np.where(there, real.argmax(axis=1), 0)
    return start, np.where(there, array.shape[1] - real[:, ::-1].argmax(axis=1), 0)


def _to_front(array: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Sequences [n, L, W] float32 from their first real step on, zeros behind the last."""
    moved = np.zeros(array.shape, np.float32)
    with np.errstate(over="ignore"):  # infinite then, and cleaned as such
        for row, (first, last) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
            moved[row, : last - first] = array[row, first:last]
    return moved
