"""What models say of samples, and how it is written."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from equimodal.inference.clips import Clip
from equimodal.inference.columns import columns, decided
from equimodal.inference.stored import Rejected
from equimodal.store import atomic

DIGITS = 6  # of a probability or a number


@dataclass(frozen=True)
class Predictions:
    """Predictions of the clips that could be read.

    Attributes:
        clips: n of them.
        classes: K names; empty in a regression.
        fused: probabilities [n, K], of several seeds their mean; in a regression numbers [n].
        alone: the same of each modality alone, {m: ...}, by the fusion head's readout.
        rejected: the clips that could not be read.
        filled: clips of which a modality is missing and was zero, by modality.
    """

    clips: list[Clip]
    classes: list[str]
    fused: "np.ndarray[Any, Any]"
    alone: dict[str, "np.ndarray[Any, Any]"]
    rejected: list[Rejected]
    filled: dict[str, int]

    @property
    def labels(self) -> list[Any]:
        """The predicted class, or number, of every clip."""
        return decided(self.fused, self.classes)

    def to_csv(self, file: IO[str]) -> None:
        """Write a row a clip, those that could not be read at the end, with the reason."""
        found = columns(self.fused, self.alone, self.classes)
        files = [f"{modality}:file" for modality in self.alone]
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "start", "end", *found, *files, "rejected"])
        rows = zip(*found.values(), strict=True)
        writer.writerows(
            [*_named(clip), *map(_told, row), *self._files(clip), ""]
            for clip, row in zip(self.clips, rows, strict=True)
        )
        writer.writerows(self._gone(len(found)))

    def save(self, path: Path) -> None:
        """Write a CSV, whole or not at all."""
        with atomic(path) as scratch, open(scratch, "w", encoding="utf-8", newline="") as file:
            self.to_csv(file)

    def _gone(self, blank: int) -> Iterator[list[str]]:
        for gone in self.rejected:
            reason = f"{gone.modality}: {gone.reason}"
            yield [*_named(gone.clip), *[""] * blank, *self._files(gone.clip), reason]

    def _files(self, clip: Clip) -> Sequence[str]:
        return [clip.files.get(modality, "") for modality in self.alone]


def _named(clip: Clip) -> list[str]:
    return [clip.id, *("" if value is None else f"{value:g}" for value in (clip.start, clip.end))]


def _told(value: Any) -> str:
    return value if isinstance(value, str) else f"{float(value):.{DIGITS}g}"
