"""Vectors that were computed elsewhere (an embedding of a picture, of a sentence): [width]."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from equimodal.features.arrays import read_rows
from equimodal.features.cleaning import cleaned
from equimodal.features.contract import Row, Segment
from equimodal.features.media import MediaError
from equimodal.settings.features import VectorSettings

LIBRARIES: tuple[str, ...] = ()


def shape(settings: VectorSettings) -> tuple[int]:
    """(width,), told from the settings alone."""
    return (settings.width,)


def dtype(settings: VectorSettings) -> str:
    """Always float32."""
    return "float32"


def notes(settings: VectorSettings) -> dict[str, Any]:
    """Nothing: values are as they were computed."""
    return {}


def extract(path: Path, segments: Sequence[Segment], settings: VectorSettings) -> list[np.ndarray | Row | MediaError]:
    """Rows [width] float32 of a file that is opened once.

    Raises:
        MediaError: the file cannot be opened.
    """
    return read_rows(path, segments, settings.key, lambda values: _row(values, settings))


def _row(values: np.ndarray, settings: VectorSettings) -> Row:
    """One sample's array, checked and cleaned; a MediaError that says what it is instead."""
    if values.shape != (settings.width,):
        hint = (
            f" (set width: {values.shape[0]})"
            if values.ndim == 1
            else " (set kind: sequence)"
            if values.ndim == 2
            else ""
        )
        raise MediaError(f"has shape {list(values.shape)}, a vector of width: {settings.width} was expected{hint}")
    return cleaned(values, settings.nonfinite)
