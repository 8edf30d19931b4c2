"""Sequences that were computed elsewhere (words, frames' descriptors):
[steps, width] as [length, width], cut or padded with zeros.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from equimodal.features.arrays import read_rows
from equimodal.features.cleaning import cleaned
from equimodal.features.contract import Row, Segment
from equimodal.features.media import MediaError, MissingTrackError
from equimodal.settings.features import SequenceSettings

LIBRARIES: tuple[str, ...] = ()


def shape(settings: SequenceSettings) -> tuple[int, int]:
    """(length, width), told from the settings alone."""
    return settings.length, settings.width


def dtype(settings: SequenceSettings) -> str:
    """Always float32."""
    return "float32"


def notes(settings: SequenceSettings) -> dict[str, Any]:
    """Nothing: values are as they were computed."""
    return {}


def extract(path: Path, segments: Sequence[Segment], settings: SequenceSettings) -> list[np.ndarray | Row | MediaError]:
    """Rows [n, width] float32, n at most `length`, of a file that is opened once.

    Raises:
        MediaError: the file cannot be opened.
    """
    return read_rows(path, segments, settings.key, lambda values: _row(values, settings))


def _row(values: np.ndarray, settings: SequenceSettings) -> Row:
    """One sample's array, checked and cleaned; a MediaError that says what it is instead."""
    if values.ndim != 2 or values.shape[1] != settings.width:
        hint = (
            f" (set width: {values.shape[1]})"
            if values.ndim == 2
            else " (set kind: vector)"
            if values.ndim == 1
            else ""
        )
        raise MediaError(f"has shape {list(values.shape)}, a sequence [steps, {settings.width}] was expected{hint}")
    if len(values) == 0:
        raise MissingTrackError("a sequence of no steps")
    return cleaned(values[: settings.length], settings.nonfinite, cut=max(0, len(values) - settings.length))
