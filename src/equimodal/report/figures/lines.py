"""A mean line with a band over seeds."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

BAND = 0.18


def band(
    axes: Axes, x: np.ndarray, values: np.ndarray, color: Any, label: str | None, shaded: bool = True, **options: Any
) -> None:
    """Draw values [seeds, n] over x: the mean, and lowest to highest seed as a band.

    Columns without any value are left out.
    """
    known = ~np.isnan(values).all(0)
    if not known.any():
        return
    x, values = x[known], values[:, known]
    axes.plot(x, np.nanmean(values, 0), color=color, label=label, **options)
    if shaded and len(values) > 1:
        axes.fill_between(x, np.nanmin(values, 0), np.nanmax(values, 0), color=color, alpha=BAND, linewidth=0)


def mark_start(axes: Axes, start: int | None) -> None:
    """A line where modulation begins; `start` counts the epochs before it."""
    if start:
        axes.axvline(start + 0.5, color="#999999", linewidth=1, linestyle=(0, (2, 2)), zorder=0)
