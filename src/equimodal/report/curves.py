"""Training curves of several seeds as arrays."""

from typing import Any

import numpy as np


class Curves:
    """curves.json of every seed, in the order of the result's seeds.

    Args:
        files: contents of the files.
    """

    def __init__(self, files: list[dict[str, Any]]) -> None:
        self._rows = [file["epochs"] for file in files]
        self.epochs = np.arange(max(len(rows) for rows in self._rows)) + 1
        self.names = sorted({name for rows in self._rows for row in rows for name in row["metrics"]})

    def of(self, name: str) -> np.ndarray:
        """A metric [seeds, epochs]; NaN where an epoch (of the warm-up, say) does not have it."""
        values = np.full((len(self._rows), len(self.epochs)), np.nan)
        for seed, rows in enumerate(self._rows):
            for row in rows:
                value = row["metrics"].get(name)
                if value is not None:
                    values[seed, row["epoch"]] = value
        return values

    def depths(self) -> list[int]:
        """Depths (from 1) at which the method measured something."""
        return sorted(
            {int(name.partition("/")[0].removeprefix("depth")) for name in self.names if name.startswith("depth")}
        )
