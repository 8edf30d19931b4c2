"""How unequal the modalities are at the end: accuracy (of a regression: mean absolute error) by readout, and
discriminability by depth.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from equimodal.report.figures.style import FUSED, canvas, color, legend_beside, percent_axis
from equimodal.report.result import Result, Spread


def draw(result: Result) -> Figure:
    """Accuracy by readout and modality; s_d and alpha_d by depth against class-mean prototypes. Weights chosen on
    validation, test split.
    """
    multimodal = result.imbalance.alpha is not None
    figure = canvas(result, "modalities apart, on test", 10.2 if multimodal else 7.2, 3.5)
    panels = figure.subplots(1, 3 if multimodal else 2, width_ratios=[1.5, 1, 1] if multimodal else [1.5, 1])
    readouts(panels[0], result)
    s_by_depth(panels[1], result)
    if multimodal:
        alpha_by_depth(panels[2], result)
    legend_beside(panels[-1], handles=panels[0].get_legend_handles_labels()[0])
    return figure


def readouts(axes: Axes, result: Result) -> None:
    """Mean and standard deviation as a bar with a whisker, every seed as a dot."""
    best = result.selection.val
    modalities = list(result.imbalance.s)
    names: list[str] = [name for name in ("split", "zero-feature", "probe") if name in best.modalities]
    numbers = best.errors is not None
    fused: Spread = best.errors.mae if best.errors is not None else best.accuracy
    scale = 1 if numbers else 100
    width = 0.8 / len(modalities)
    for i, modality in enumerate(modalities):
        place = np.arange(len(names)) + (i - (len(modalities) - 1) / 2) * width
        values: list[Spread] = [
            best.modality_errors[n][modality].mae if best.modality_errors else best.modalities[n][modality]
            for n in names
        ]
        _bars(axes, place, values, 0.92 * width, color(modality, result.data.modalities), modality, scale)
    ticks, labels = list(range(len(names))), names
    if len(modalities) > 1:
        _bars(axes, np.array([len(names)]), [fused], 0.92 * min(width, 0.4), FUSED, "fused", scale)
        ticks, labels = [*ticks, len(names)], [*labels, "fused"]
    axes.set_xticks(ticks, labels)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("readout of a modality")
    axes.set_title("mean absolute error by readout" if numbers else "accuracy by readout", loc="left")
    if numbers:
        axes.set_ylabel("test error (labels' unit)")
    else:
        percent_axis(axes, "test accuracy (%)")


def s_by_depth(axes: Axes, result: Result) -> None:
    """s_d^m of Eq. 9 for every modality."""
    for modality, line in result.imbalance.s.items():
        _depth_line(axes, line, color(modality, result.data.modalities))
    axes.axhline(1 / len(result.classes), color="#bbbbbb", linewidth=1, linestyle=(0, (1, 2)))
    axes.set_ylim(0, 1)
    axes.set_ylabel("$s_d$: mean probability of the true class")
    axes.set_title("discriminability by depth", loc="left")


def alpha_by_depth(axes: Axes, result: Result) -> None:
    """alpha_d of Eq. 14: 0 when the modalities are equal."""
    assert result.imbalance.alpha is not None
    _depth_line(axes, result.imbalance.alpha, FUSED)
    top = max(point.mean + (point.std or 0) for point in result.imbalance.alpha)
    axes.set_ylim(0, max(0.1, 1.08 * top))
    axes.set_ylabel("$\\alpha_d$: deviation over mean of $s_d$")
    axes.set_title("imbalance by depth", loc="left")


def _bars(
    axes: Axes, place: np.ndarray, values: list[Spread], width: float, shade: str, label: str, scale: int
) -> None:
    axes.bar(place, [scale * v.mean for v in values], width, color=shade, alpha=0.55, label=label)
    if values[0].std is not None:
        axes.errorbar(
            place,
            [scale * v.mean for v in values],
            [scale * (v.std or 0) for v in values],
            fmt="none",
            ecolor=shade,
            elinewidth=1.4,
            capsize=3,
        )
    for x, value in zip(place, values, strict=True):
        offsets = np.linspace(-0.2, 0.2, len(value.per_seed)) * width if len(value.per_seed) > 1 else np.zeros(1)
        seeds = [scale * v for v in value.per_seed]
        axes.plot(
            x + offsets,
            seeds,
            linestyle="none",
            marker="o",
            markersize=4.5,
            color=shade,
            markeredgecolor="white",
            markeredgewidth=0.6,
        )


def _depth_line(axes: Axes, line: list[Spread], shade: str) -> None:
    x = np.arange(len(line)) + 1
    spread = [v.std or 0 for v in line] if line[0].std is not None else None
    axes.errorbar(x, [v.mean for v in line], spread, color=shade, marker="o", markersize=4, capsize=3, elinewidth=1.2)
    axes.set_xticks(x)
    axes.set_xlim(0.7, len(line) + 0.3)
    axes.set_xlabel("depth $d$ (block)")
