"""Discriminability of original and auxiliary blocks over epochs (AIM's Fig. 5), and alpha_d (Fig. 6)."""

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from equimodal.report.curves import Curves
from equimodal.report.figures.imbalance import alpha_by_depth
from equimodal.report.figures.lines import band, mark_start
from equimodal.report.figures.style import SEQUENCE, canvas, color, legend_beside
from equimodal.report.result import Result

KINDS = (
    ("s", "original block, $s$", "-"),
    ("s_aux", "auxiliary block, $\\tilde{s}$", (0, (4, 1.6))),
    ("s_good", "with good weights, $s_g$", (0, (1, 1.2))),
)

DASHES = ("-", (0, (5, 1.5)), (0, (2.5, 1.2)), (0, (1, 1)))


def draw_scores(result: Result, curves: Curves) -> Figure:
    """s, s~ and s_g of every depth on training batches; the health check is that s~ stays below s."""
    depths = curves.depths()
    if not depths:
        return nothing(
            result, "discriminability of blocks (Fig. 5)", "No epoch was modulated: there are no scores of blocks."
        )
    figure = canvas(result, "discriminability of blocks while training (Fig. 5)", 2.35 * len(depths) + 2.6, 3.4)
    panels = figure.subplots(1, len(depths), sharex=True, squeeze=False)[0]
    modalities = list(result.imbalance.s)
    for axes, depth in zip(panels, depths, strict=True):
        for modality in modalities:
            for kind, label, line in KINDS:
                shade = color(modality, result.data.modalities)
                values = curves.of(f"depth{depth}/{modality}/{kind}")
                band(
                    axes,
                    curves.epochs,
                    values,
                    shade,
                    f"{modality}: {label}",
                    shaded=kind == "s",
                    linestyle=line,
                    linewidth=1.6,
                )
        mark_start(axes, result.method.settings.get("start_epoch"))
        axes.set_ylim(bottom=0)
        axes.set_title(f"depth {depth}", loc="left")
        epoch_axis(axes, curves)
    panels[0].set_ylabel("mean probability of the true class")
    legend_beside(panels[-1])
    return figure


def draw_alpha(result: Result, curves: Curves) -> Figure:
    """alpha_d over epochs on training batches, and at the end on test against class-mean prototypes."""
    if result.imbalance.alpha is None or not curves.depths():
        return nothing(
            result,
            "imbalance by depth (Fig. 6)",
            "No epoch was modulated, or there is one modality: there is no alpha.",
        )
    figure = canvas(result, "imbalance between modalities (Fig. 6)", 8.6, 3.5)
    over, at_end = figure.subplots(1, 2, width_ratios=[1.7, 1])
    depths = curves.depths()
    shades = matplotlib.colormaps[SEQUENCE]
    for i, depth in enumerate(depths):
        shade = shades(0.9 * i / max(1, len(depths) - 1))
        band(
            over,
            curves.epochs,
            curves.of(f"depth{depth}/alpha"),
            shade,
            f"depth {depth}",
            linestyle=DASHES[i % len(DASHES)],
        )
    mark_start(over, result.method.settings.get("start_epoch"))
    over.set_ylim(bottom=0)
    over.set_ylabel(
        "$\\alpha_d$ on training batches" + ("" if result.method.settings.get("dam", True) else " (fixed: no DAM)")
    )
    over.set_title("while training", loc="left")
    epoch_axis(over, curves)
    alpha_by_depth(at_end, result)
    at_end.set_title("at the end, on test", loc="left")
    figure.legend(*over.get_legend_handles_labels(), loc="outside right upper")
    return figure


def nothing(result: Result, title: str, reason: str) -> Figure:
    """A figure that says why it is empty, so that every method of a family has the same files."""
    figure = canvas(result, title, 6.0, 2.2)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, reason, ha="center", va="center", color="#555555")
    return figure


def epoch_axis(axes: Axes, curves: Curves) -> None:
    """Whole epochs, from 1."""
    axes.set_xlim(1, max(2, len(curves.epochs)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
