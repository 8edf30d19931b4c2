"""Mean and standard deviation per channel, or per number of a step, over chosen rows of an array on disk,
read in pieces.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

# Bytes read at once. Fixed, because the grouping of a sum changes its last bits.
PIECE = 8 << 20


def channel_statistics(path: Path, rows: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and (population) standard deviation of each channel, in double precision.

    Pieces are merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances" (1979), always in the same order: same array, same bits. A channel without spread gets 1, so that
    dividing by it is safe.

    Args:
        path: a .npy array [N, C, ...] in C order.
        rows: indices into it, ascending, at least one.
    """
    return _merged(
        _moments((piece if mask.all() else piece[mask]).reshape(int(mask.sum()), piece.shape[1], -1))
        for _, mask, piece in _pieces(path, rows)
    )


def step_statistics(path: Path, rows: np.ndarray, lengths: np.ndarray) -> tuple[list[float], list[float]]:
    """The same for each number of a step, over the real steps of sequences.

    Args:
        path: a .npy array [N, L, W] in C order, padded behind.
        rows: indices into it, ascending, at least one, with at least one step among them.
        lengths: real steps of each of the N rows.
    """

    def moments() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for begin, mask, piece in _pieces(path, rows):
            real = np.arange(piece.shape[1]) < lengths[begin : begin + len(mask), None]
            steps = piece[real & mask[:, None]]
            if len(steps):
                yield _moments(steps[:, :, None])

    return _merged(moments())


def _pieces(path: Path, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(first row, which of the rows are chosen, the rows) of every piece that holds a chosen one."""
    array = np.load(path, mmap_mode="r")
    shape, dtype, offset = array.shape, array.dtype, array.offset
    del array  # read instead of mapped: mapped pages count as the process's memory
    row = int(np.prod(shape[1:], dtype=np.int64))
    step = max(1, PIECE // (row * dtype.itemsize))
    chosen = np.zeros(shape[0], dtype=bool)
    chosen[rows] = True
    with open(path, "rb") as file:
        for begin in range(0, shape[0], step):
            mask = chosen[begin : begin + step]
            if not mask.any():
                continue
            file.seek(offset + begin * row * dtype.itemsize)
            yield begin, mask, np.fromfile(file, dtype=dtype, count=len(mask) * row).reshape(len(mask), *shape[1:])


def _merged(parts: Iterator[tuple[int, np.ndarray, np.ndarray]]) -> tuple[list[float], list[float]]:
    """Mean and deviation of the whole from the moments of its parts."""
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for size, centre, spread in parts:
        away = centre - mean
        squares = squares + (spread + away**2 * (count * size / (count + size)))
        mean = mean + away * (size / (count + size))
        count += size
    deviation = np.sqrt(squares / count)
    return mean.tolist(), np.where(deviation > 0, deviation, 1.0).tolist()


def _moments(piece: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of values per channel, their mean and their sum of squares about it, of [N, C, n]."""
    size = piece.shape[0] * piece.shape[2]
    # Whole numbers, exactly, in a tenth of the time: 255 squared fits 16 bits, and the sums fit 53
    if piece.dtype == np.uint8:
        total = piece.sum(axis=(0, 2), dtype=np.uint64).astype(np.float64)
        raw = np.square(piece, dtype=np.uint16).sum(axis=(0, 2), dtype=np.uint64).astype(np.float64)
        return size, total / size, raw - total * total / size
    values = piece.astype(np.float64)
    centre = values.mean(axis=(0, 2))
    return size, centre, np.square(values - centre[:, None]).sum(axis=(0, 2))
