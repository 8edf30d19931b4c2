"""Files of arrays, read row by row: .npy, an array of .npz, a column of .parquet. No file is held in memory as a whole.

A sample's path may name a row of a file that holds all samples:
`text.npy#12` is row 12, `text.npy#12:37` its first 37 steps.
"""

import math
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from equimodal.features.contract import Place, Row, Segment
from equimodal.features.media import MediaError, MissingTrackError, absent
from equimodal.store import DAMAGED

if TYPE_CHECKING:
    import pyarrow.parquet

_LOCATOR = re.compile(r"(.+)#(\d+)(?::(\d+))?", re.DOTALL)
# Bytes of one sample, and of what an array in a .npz says of itself, at most.
SAMPLE, HEADER = 1 << 30, 10_000
SUFFIXES = (".npy", ".npz", ".parquet")


def locate(path: str) -> tuple[str, Place]:
    """File and place that a sample's path names."""
    found = _LOCATOR.fullmatch(path)
    if found is None:
        return path, Place()
    return found[1], Place(int(found[2]), None if found[3] is None else int(found[3]))


def locator(file: str, row: int, steps: int | None = None) -> str:
    """The path of one row of a file, the other way round."""
    return f"{file}#{row}" if steps is None else f"{file}#{row}:{steps}"


@dataclass(frozen=True)
class ArrayFile:
    """An open file of arrays.

    `shape` is the whole array's (of a parquet column, whose rows may differ, the number of rows alone). `row` and
    `whole` return numbers as they are stored.
    """

    shape: tuple[int, ...]
    row: Callable[[int], np.ndarray]
    whole: Callable[[], np.ndarray]

    def read(self, place: Place) -> np.ndarray:
        """The part of the file that a sample is, float32.

        Raises:
            MissingTrackError: there is nothing in this row (a null in a parquet column).
            MediaError: no such row or step; no numbers; damaged data.
        """
        if place.row is None:
            values = _guarded(self.whole)
        elif not self.shape or place.row >= self.shape[0]:
            raise MediaError(f"row {place.row} of {self.shape[0] if self.shape else 'no'} rows")
        else:
            values = _guarded(lambda: self.row(int(place.row or 0)))
        if values.dtype.kind not in "fiub":
            raise MediaError(f"holds {values.dtype}, not numbers")
        if place.steps is not None:
            if values.ndim == 0 or place.steps > values.shape[0]:
                raise MediaError(f"{place.steps} steps of {values.shape[0] if values.ndim else 'no'} steps")
            values = values[: place.steps]
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which the setting `nonfinite` treats
            return values.astype(np.float32)


def open_arrays(path: Path, key: str | None) -> ArrayFile:
    """Open a file; only its header is read.

    Args:
        path: a .npy, .npz or .parquet file.
        key: array of the .npz (None: its only one), column of the .parquet.

    Raises:
        MediaError: another format, no such key, damaged, not a regular array of numbers.
    """
    openers = {".npy": _open_npy, ".npz": _open_npz, ".parquet": _open_parquet}
    opener = openers.get(path.suffix.lower())
    if opener is None:
        raise MediaError(f"unreadable: '{path.suffix}' is not one of {', '.join(openers)}")
    if (why := absent(path)) is not None:
        raise MediaError(why)
    return _guarded(lambda: opener(path, key))


# A worker gets a file's rows in several jobs, in their order: it stays open.
# Two, so that nothing grows with one file per sample.
opened = lru_cache(maxsize=2)(open_arrays)


def _guarded(action: Callable[[], Any]) -> Any:
    """Run `action`; what NumPy, zipfile and Arrow raise about a damaged file becomes one MediaError."""
    try:
        return action()
    except MediaError:
        raise
    except (*DAMAGED, KeyError, IndexError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        words = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0] or type(error).__name__
        raise MediaError(f"unreadable: {words[:160]}") from None


def _open_npy(path: Path, key: str | None) -> ArrayFile:
    if key is not None:
        raise MediaError(f"a .npy file holds one array, without names: leave out key '{key}'")
    array = np.lib.format.open_memmap(path, mode="r")
    _check_plain(array.dtype, array.shape)
    return ArrayFile(array.shape, lambda row: np.array(_sized(array[row])), lambda: np.array(_sized(array)))


def _open_npz(path: Path, key: str | None) -> ArrayFile:
    """Rows are read by seeking in the (perhaps compressed) stream: cheap where rows are asked for in their order."""
    archive = zipfile.ZipFile(path)
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    if key is None and len(names) != 1:
        raise MediaError(f"holds the arrays {', '.join(names) or '(none)'}: set key to one of them")
    wanted = names[0] if key is None else key
    if wanted not in names:
        raise MediaError(f"has no array '{wanted}'; it has: {', '.join(names) or 'none'}")
    member = archive.namelist()[names.index(wanted)]
    with archive.open(member) as stream:
        start = stream.read(12)  # NumPy would read a header of any length before it refuses it
        length = int.from_bytes(start[8 : 10 if start[6:7] == b"\x01" else 12], "little")
        if length > HEADER:
            raise MediaError(f"unreadable: array '{wanted}' has a header of {length} bytes")
    stream = archive.open(member)
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(stream)
    _check_plain(dtype, shape)
    if fortran and len(shape) > 1:
        raise MediaError(f"array '{wanted}' is in Fortran order: save np.ascontiguousarray of it")
    offset = stream.tell()

    def read(row: int, rows: tuple[int, ...]) -> np.ndarray:
        size = _check_size(rows, dtype)
        stream.seek(offset + row * size)
        data = stream.read(size)
        if len(data) < size:
            raise EOFError("the array is cut off")
        return np.frombuffer(data, dtype).reshape(rows)

    return ArrayFile(shape, lambda row: read(row, shape[1:]), lambda: read(0, shape))


def _check_plain(dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if dtype.kind not in "fiub":
        raise MediaError(f"holds {dtype}, not numbers")
    if any(side < 0 for side in shape):
        raise MediaError(f"unreadable: its shape is {list(shape)}")


def _check_size(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes of one sample; few bytes of a compressed file may claim any number of them."""
    size = math.prod(shape) * dtype.itemsize
    if size > SAMPLE:
        raise MediaError(f"one sample is {list(shape)} of {dtype}, {size / 1e9:.1f} GB: more than is read at once")
    return size


def _sized(values: np.ndarray) -> np.ndarray:
    _check_size(values.shape, values.dtype)
    return values


def _open_parquet(path: Path, key: str | None) -> ArrayFile:
    """One row group is in memory at a time."""
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise MediaError(f"unreadable: {str(error).splitlines()[0][:160]}") from None
    columns = file.schema_arrow.names
    if key is None or key not in columns:
        raise MediaError(
            (f"has no column '{key}'" if key else "needs key, the name of a column")
            + f"; it has: {', '.join(columns) or 'none'}"
        )
    if columns.count(key) > 1:
        raise MediaError(f"has {columns.count(key)} columns '{key}'")
    kind = file.schema_arrow.field(key).type
    if not _numbers(kind):
        raise MediaError(f"column '{key}' holds {str(kind)[:80]}, not numbers, lists of numbers or lists of those")
    rows = _ParquetColumn(file, key)

    def whole() -> np.ndarray:
        raise MediaError("a .parquet file holds many samples: add #ROW to the path, or use file")

    return ArrayFile((file.metadata.num_rows,), rows.row, whole)


def _numbers(kind: Any, depth: int = 0) -> bool:
    """Whether an Arrow type is numbers, or at most two lists around them."""
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return depth < 2 and _numbers(kind.value_type, depth + 1)
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


class _ParquetColumn:
    """Rows of one column; keeps the row group that was read last."""

    def __init__(self, file: "pyarrow.parquet.ParquetFile", key: str) -> None:
        self.file, self.key = file, key
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        self.ends = np.cumsum(sizes)
        self.group = -1
        self.values: Any = None

    def row(self, row: int) -> np.ndarray:
        """A list as a vector, a list of lists of one length as a sequence."""
        group = int(np.searchsorted(self.ends, row, side="right"))
        if group != self.group:
            self.values = None  # before the next is read: one at a time
            self.values = self.file.read_row_group(group, columns=[self.key], use_threads=False).column(0)
            self.group = group
        value = self.values[row - (int(self.ends[group - 1]) if group else 0)]
        if not value.is_valid:
            raise MissingTrackError(f"nothing in column '{self.key}'")
        return _list_array(value.values) if hasattr(value, "values") else np.array(value.as_py())


def _list_array(values: Any) -> np.ndarray:
    """An Arrow array as [n], or an array of lists as [n, w]."""
    import pyarrow

    if not (
        pyarrow.types.is_list(values.type)
        or pyarrow.types.is_large_list(values.type)
        or pyarrow.types.is_fixed_size_list(values.type)
    ):
        return values.to_numpy(zero_copy_only=False)
    widths = {len(step) if step.is_valid else 0 for step in values}
    if len(widths) > 1:
        raise MediaError(f"steps of {min(widths)} to {max(widths)} numbers: every step needs as many")
    return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), widths.pop() if widths else 0)


def read_rows(
    path: Path, segments: Sequence[Segment], key: str | None, make: Callable[[np.ndarray], Row]
) -> list[np.ndarray | Row | MediaError]:
    """What `make` says of each segment's array, or why there is none; the file is opened once.

    Raises:
        MediaError: the file cannot be opened.
    """
    file = opened(path, key)
    rows: list[np.ndarray | Row | MediaError] = []
    for segment in segments:
        try:
            rows.append(make(file.read(segment.place)))
        except MediaError as error:
            rows.append(error)
    return rows
