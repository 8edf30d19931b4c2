"""What is taken for what, on test."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from equimodal.report.figures.style import canvas, plain
from equimodal.report.result import Result

NAMED_CLASSES = 60  # more names than this cannot be read
COUNTED_CLASSES = 12


def draw(result: Result) -> Figure:
    """Shares of each true class's test samples by predicted class, over all seeds; weights chosen on validation."""
    counts = np.array(result.selection.val.confusion, dtype=float)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = float(np.clip(0.14 * len(counts) + 2.6, 4.2, 9.5))
    figure = canvas(result, "confusion matrix on test", 1.12 * size + 1.1, size + 0.3)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="none")
    axes.grid(visible=False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if len(counts) <= NAMED_CLASSES:
        font = 8.5 if len(counts) <= 20 else 6
        slant: dict[str, Any] = (
            {"rotation": 90}
            if len(counts) > COUNTED_CLASSES
            else {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
        )
        names = [plain(name) for name in result.classes]
        axes.set_xticks(range(len(counts)), names, fontsize=font, **slant)
        axes.set_yticks(range(len(counts)), names, fontsize=font)
    if len(counts) <= COUNTED_CLASSES:
        for i, j in np.ndindex(*counts.shape):
            axes.text(
                j,
                i,
                f"{shares[i, j]:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[i, j] > 55 else "#333333",
            )
    bar = figure.colorbar(image, ax=axes, shrink=0.75)
    bar.set_label("share of the true class (%)")
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure
