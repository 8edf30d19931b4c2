"""What every kind of feature is: a module that fits `Kind`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from equimodal.features.media import MediaError


@dataclass(frozen=True)
class Place:
    """Which part of a file of arrays a sample is:
    a row (None: the whole file), and so many of its first steps (None: all).
    """

    row: int | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Segment:
    """One sample of a clip: where its row goes,
    and which part of the clip it is (s; None: the clip's beginning or end).

    `place` is the part of a file of arrays, which have no seconds.
    """

    row: int
    id: str
    start: float | None
    end: float | None
    place: Place = Place()


@dataclass(frozen=True)
class Row:
    """A row made of an array, and what was done to it.

    `values` may have fewer steps than the kind's shape: the rest of the stored row is zeros. `cut`: steps left out at
    the end. `nonfinite`: NaN or infinite numbers set to zero.
    """

    values: np.ndarray
    cut: int = 0
    nonfinite: int = 0


class Kind(Protocol):
    """A module with these functions is a kind of feature. Settings are the model of that kind in
    `settings.features`.
    """

    @property
    def LIBRARIES(self) -> Sequence[str]:  # noqa: N802
        """What a worker imports once, before it is forked."""

    def shape(self, settings: Any) -> tuple[int, ...]:
        """Shape of one row, channels first, told from the settings alone."""

    def dtype(self, settings: Any) -> str:
        """NumPy name of a row's type."""

    def notes(self, settings: Any) -> dict[str, Any]:
        """What a reader needs to turn stored values back into physical ones; {} when they are what they are."""

    def extract(
        self, path: Path, segments: Sequence[Segment], settings: Any
    ) -> Sequence[np.ndarray | Row | MediaError]:
        """One row, or the reason why there is none, for each segment of a clip that is decoded once.

        Raises:
            MissingTrackError: the clip lacks the track.
            MediaError: no segment of the clip can be used.
        """
