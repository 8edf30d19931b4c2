"""The entry of `datasets` that a CSV of clips needs: its columns, and modalities, model and training sized by ten of
its files.
"""

import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from equimodal.datasets.base import some_of
from equimodal.datasets.table.sheet import Reading, Sheet, number, read_columns, spread
from equimodal.datasets.tracks import Tracks, probe
from equimodal.errors import UserError
from equimodal.features.arrays import locate, open_arrays
from equimodal.features.media import MediaError, opened, sound_track, video_track

LONGEST = 10.0  # s of sound proposed
STEPS_OF_SOUND = 150  # of a spectrogram without a GPU
PICTURE = {False: 48, True: 224}  # px of the short side, by whether there is a GPU
TRAINING_STEPS = {False: 1500, True: 6000}


@dataclass(frozen=True)
class Proposal:
    """An entry as params.yaml takes it, and what a person should know or decide, one line each."""

    entry: dict[str, Any]
    notes: list[str]


def propose(sheet: Sheet, root: Path, given: Mapping[str, str], arrays: Mapping[str, str], gpu: bool) -> Proposal:
    """The entry of a CSV.

    Args:
        root: what its paths are relative to.
        given: role -> column, that a person named.
        arrays: modality -> FILE or FILE#KEY with one row per sample, relative to root.
        gpu: sizes for a GPU: pictures of 224 px, ResNet18.

    Raises:
        UserError: as `read_columns`; no file that can be read, arrays of odd shapes.
    """
    found = read_columns(sheet, root, given, without_files=bool(arrays))
    modalities, path = _media(sheet, root, found, gpu)
    for column in found.arrays:
        modalities[_free(column, modalities)] = _array_column(sheet, root, column, found)
    for name, file in arrays.items():
        if name in modalities:
            raise UserError(f"--array {name}={file}: there is a modality {name} already: give it another name")
        modalities[name] = _array_file(sheet, root, file)
    if len(modalities) < 2:
        found.notes.append(f"only one modality ({', '.join(modalities)}): methods that balance need two")
    columns = {"path": path, **found.columns}
    entry = {"columns": columns, **found.task, "split": found.split, "modalities": modalities}
    return Proposal({**entry, **_sizes(len(sheet.rows), modalities, gpu)}, found.notes)


def _free(column: str, taken: Collection[str]) -> str:
    """A modality's name, as params.yaml takes it, made of a column's."""
    name = re.sub(r"[^a-z0-9]+", "-", column.lower()).strip("-") or "features"
    further = (f"{name}-{number}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], further) if free not in taken)


def _media(
    sheet: Sheet, root: Path, found: Reading, gpu: bool
) -> tuple[dict[str, dict[str, Any]], str | dict[str, str] | None]:
    """Sounds and pictures of the clips, and `columns.path`.

    One column gives both. Where some columns hold sound alone, the others are read for their pictures only.
    """
    looked = {column: _looked_at(sheet, root, column, found) for column in found.media}
    seconds = _seconds(sheet, [track for tracks in looked.values() for track in tracks.values()], found)
    heard = {column: path for column, tracks in looked.items() if (path := _first(tracks, "audio"))}
    seen = {column: path for column, tracks in looked.items() if (path := _first(tracks, "video"))}
    heard = {column: path for column, path in heard.items() if column not in seen} or heard
    kinds = ("sound", "audio", heard), ("picture", "visual", seen)
    modalities: dict[str, dict[str, Any]] = {}
    columns: dict[str, str] = {}
    for kind, usual, having in kinds:
        for column, path in having.items():
            name = _free(usual if len(having) == 1 else column, modalities)
            sized = _sound if kind == "sound" else _picture
            modalities[name], columns[name] = sized(root / path, seconds, gpu), column
            tracks = looked[column]
            without = [path for path, track in tracks.items() if not (track.audio if kind == "sound" else track.video)]
            if without:
                found.notes.append(
                    f"{len(without)} of {len(tracks)} files looked at have no {kind} ({some_of(without)}): rejected,"
                    " unless `missing: zero` fills in zeros"
                )
    if len(set(columns.values())) < 2:
        return modalities, next(iter(columns.values()), None)
    return modalities, columns


def _looked_at(sheet: Sheet, root: Path, column: str, found: Reading) -> dict[str, Tracks]:
    """What is in ten files of a column; those that cannot be read are noted and left out."""
    cells = sheet.values(column)
    if empty := cells.count(""):
        found.notes.append(
            f"column '{column}' is empty in {empty} of {len(cells)} rows: rejected, unless `missing: zero` fills in"
            " zeros"
        )
    tracks = {path: probe(str(root / path)) for path in spread(cells)}
    broken = {path: track.error for path, track in tracks.items() if track.error}
    if len(broken) == len(tracks):
        raise UserError(
            "none of the {} files looked at can be read; {}: {}".format(len(tracks), *next(iter(broken.items())))
        )
    found.notes += [f"{path}: {reason}; such samples are rejected" for path, reason in broken.items()]
    return {path: track for path, track in tracks.items() if not track.error}


def _first(tracks: Mapping[str, Tracks], track: Literal["audio", "video"]) -> str | None:
    """The first file that has it."""
    return next((path for path, found in tracks.items() if getattr(found, track)), None)


def _seconds(sheet: Sheet, tracks: Sequence[Tracks], found: Reading) -> float:
    """What nine of ten samples are not longer than."""
    start, end = found.columns.get("start"), found.columns.get("end")
    lengths = [track.seconds for track in tracks if track.seconds]
    if end is not None:
        ends = [(number(row[start]) if start else None, number(row[end])) for row in sheet.rows]
        lengths = [stop - (begin or 0.0) for begin, stop in ends if stop is not None] or lengths
    long = float(np.quantile(lengths, 0.9)) if lengths else 3.0
    unit = 0.1 if long < 2 else 0.5
    return round(min(LONGEST, max(1, math.ceil(round(long / unit, 6))) * unit), 1)


def _sound(path: Path, seconds: float, gpu: bool) -> dict[str, Any]:
    with opened(path) as container:
        rate = min(16000, max(1000, sound_track(container).rate))
    hop = rate // 100
    while not gpu and seconds * rate / hop > STEPS_OF_SOUND:
        hop *= 2
    window = max(5 * rate // 200, hop)
    spectrum = {"n_fft": 2 ** math.ceil(math.log2(max(16, window))), "hop": hop, "window": max(16, window)}
    return {"kind": "spectrogram", "sample_rate": rate, "seconds": seconds, **spectrum, "mel_bins": 64}


def _picture(path: Path, seconds: float, gpu: bool) -> dict[str, Any]:
    """Of the clips' own proportions, and never larger than they are."""
    with opened(path) as container:
        codec = video_track(container).codec_context
        sides = codec.height, codec.width
    scale = min(1.0, PICTURE[gpu] / min(sides))
    size = [max(16, round(side * scale / 8) * 8) for side in sides]
    margin = min(size) // 12
    return {"kind": "frames", "n": 3 if seconds <= 5 else 5, "size": size, "margin": margin, "channels": 3}


def _array_column(sheet: Sheet, root: Path, column: str, found: Reading) -> dict[str, Any]:
    """A column with one array per row."""
    shapes = []
    for cell in spread(sheet.values(column)):
        file, place = locate(cell)
        try:
            shapes.append(open_arrays(root / file, None).read(place).shape)
        except MediaError as error:
            found.notes.append(f"{cell}: {error}; such samples are rejected")
    return _array(f"column '{column}'", {"column": column}, shapes)


def _array_file(sheet: Sheet, root: Path, named: str) -> dict[str, Any]:
    """One file with a row per sample."""
    file, _, key = named.partition("#")
    try:
        array = open_arrays(root / file, key or None)
        rows = array.shape[0] if array.shape else 0
        if rows != len(sheet.rows):
            raise UserError(f"{file} has {rows} rows, {sheet.path} has {len(sheet.rows)}: one row per sample is needed")
        shapes = [array.row(place).shape for place in sorted({0, rows // 2, rows - 1})]
    except MediaError as error:
        raise UserError(f"{root / file}: {error}") from None
    return _array(file, {"file": file, **({"key": key} if key else {})}, shapes)


def _array(where: str, source: dict[str, str], shapes: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """A vector or a sequence, by what was read."""
    widths = {shape[-1:] for shape in shapes}
    ranks = {len(shape) for shape in shapes}
    if len(widths) != 1 or ranks not in ({1}, {2}) or (0,) in widths:
        told = ", ".join(str(list(shape)) for shape in dict.fromkeys(shapes)) or "that cannot be read"
        raise UserError(f"{where} holds arrays {told}: vectors [width] or sequences [steps, width] are needed")
    (width,) = widths.pop()
    if ranks == {1}:
        return {"kind": "vector", **source, "width": width}
    return {"kind": "sequence", **source, "length": max(1, *(shape[0] for shape in shapes)), "width": width}


def _sizes(rows: int, modalities: Mapping[str, Mapping[str, Any]], gpu: bool) -> dict[str, Any]:
    """Model and training: a narrow network and so many steps without a GPU, ResNet18 and more of them with one."""
    is_media = any(feature["kind"] in ("spectrogram", "frames") for feature in modalities.values())
    batch = 64 if gpu or rows > 1500 else 32
    epochs = min(100, max(10, round(TRAINING_STEPS[gpu] / math.ceil(0.7 * rows / batch))))
    training = {"epochs": epochs, "batch_size": batch, "schedule": {"name": "cosine"}}
    training["optimizer"] = {"lr": 0.02 if not is_media else 0.01 if gpu else 0.05}
    found: dict[str, Any] = {}
    if is_media:
        training["augment"] = {"crop_scale": [0.8, 1.0]}
        if not gpu:
            found["model"] = {"width": 8, "layers": [1, 1, 1, 1], "stem_stride": 2, "stem_pool": False}
    return {**found, "training": training, "methods": {"aim": {"start_epoch": max(1, epochs // 4)}}}
