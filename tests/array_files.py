"""Files of arrays for tests, in every format that features are read from."""

from pathlib import Path
from typing import Any

import numpy as np


def write_parquet(path: Path, columns: dict[str, list[Any]], group: int = 1000) -> None:
    """A .parquet file of lists (or lists of lists) in row groups of `group` rows."""
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path, row_group_size=group)


def ragged(lengths: list[int], width: int, seed: int = 0) -> list[np.ndarray]:
    """Random sequences [n, width] float32, one per length."""
    random = np.random.default_rng(seed)
    return [random.normal(size=(length, width)).astype(np.float32) for length in lengths]


def padded(sequences: list[np.ndarray], length: int) -> np.ndarray:
    """Sequences as one array [N, length, W], zeros behind."""
    stacked = np.zeros((len(sequences), length, sequences[0].shape[1]), np.float32)
    for row, values in enumerate(sequences):
        stacked[row, : len(values)] = values[:length]
    return stacked
