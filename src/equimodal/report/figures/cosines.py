"""Cosines between class prototypes at every depth (AIM's Fig. 4)."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from equimodal.report.figures.scores import nothing
from equimodal.report.figures.style import SEQUENCE, canvas
from equimodal.report.result import Result


def draw(result: Result, logs: list[dict[str, Any]]) -> Figure:
    """Heat maps by modality and depth, mean over seeds, as fitted on the warm-up;
    the health check is that cosines fall with depth.

    Args:
        logs: the prototypes stage's log of every seed; `cosine` is {m: [D][K][K]}.
    """
    title = "cosine of class prototypes after the warm-up (Fig. 4)"
    if result.method.settings.get("scores") == "label" or not all("cosine" in log for log in logs):
        return nothing(result, title, "This variant scores blocks by classifiers: it has no prototypes.")
    modalities = [name for name in result.imbalance.s if name in logs[0]["cosine"]]
    maps = {name: np.mean([log["cosine"][name] for log in logs], axis=0) for name in modalities}
    depths = min(len(line) for line in maps.values())
    figure = canvas(result, title, 2.1 * depths + 1.2, 2.3 * len(modalities) + 0.7)
    panels = figure.subplots(len(modalities), depths, squeeze=False)
    low = min(0.0, *(float(line.min()) for line in maps.values()))
    for row, name in enumerate(modalities):
        for column in range(depths):
            axes, cosine = panels[row, column], maps[name][column]
            image = axes.imshow(cosine, cmap=SEQUENCE, vmin=low, vmax=1, interpolation="none")
            axes.grid(visible=False)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"depth {column + 1}", loc="left")
            axes.set_xlabel(f"mean off diagonal {off_diagonal(cosine):.2f}", fontsize=8)
            if column == 0:
                axes.set_ylabel(f"{name}\nclass")
    bar = figure.colorbar(image, ax=panels, shrink=0.8, aspect=30)
    bar.set_label("cosine")
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def off_diagonal(cosine: np.ndarray) -> float:
    """Mean of what is not on the diagonal of [K, K] (Eq. 16)."""
    classes = len(cosine)
    return float((cosine.sum() - np.trace(cosine)) / max(1, classes * (classes - 1)))
