"""Accuracy against one number of a method: its start epoch E (Fig. 7 of AIM's paper), or what its training costs."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from equimodal.report.figures.style import PALETTE
from equimodal.report.names import method_name
from equimodal.report.paper.material import Material
from equimodal.report.paper.panels import method_color, sheet, test_accuracy
from equimodal.report.result import Result, Spread


def draw_start_epochs(material: Material) -> Figure:
    """A panel per dataset: test accuracy over E, mean and standard deviation, every seed as a dot; methods without a
    start epoch are level lines.
    """
    figure = sheet(
        material, "Accuracy over the epoch E at which AIM's modulation starts", 4.6 * len(material.datasets), 3.3
    )
    panels = figure.subplots(1, len(material.datasets), squeeze=False)[0]
    for axes, dataset in zip(panels, material.datasets, strict=True):
        results = material.on(dataset)
        starts = {m: r.method.settings["start_epoch"] for m, r in results.items() if "start_epoch" in r.method.settings}
        line = sorted(starts, key=lambda method: starts[method])
        axes.plot([starts[m] for m in line], [100 * test_accuracy(results[m]).mean for m in line], color="#1a1a1a")
        for method in line:
            _point(axes, starts[method], test_accuracy(results[method]), "#1a1a1a")
        for method, result in results.items():
            if method not in starts:
                level = 100 * test_accuracy(result).mean
                axes.axhline(level, color=method_color(material, method), linestyle=(0, (4, 2)), linewidth=1.3)
                axes.annotate(
                    method_name(method), (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom"
                )
        axes.set_xticks(sorted(set(starts.values())))
        axes.set_xlabel("start epoch $E$")
        axes.set_ylabel("test accuracy (%)")
        axes.set_title(material.titled(dataset), loc="left")
    return figure


def draw_tradeoff(material: Material) -> Figure:
    """A panel per dataset: test accuracy against the FLOPs of a training step over joint training's, whole steps of the
    method's cycle.
    """
    figure = sheet(material, "Accuracy against the cost of training", 5.2 * len(material.datasets), 4.0)
    panels = figure.subplots(1, len(material.datasets), squeeze=False)[0]
    for axes, dataset in zip(panels, material.datasets, strict=True):
        for method, result in material.on(dataset).items():
            x = cost_ratio(result)
            shade = PALETTE[material.methods.index(method) % len(PALETTE)]
            _point(axes, x, test_accuracy(result), shade)
            axes.annotate(
                method_name(method),
                (x, 100 * test_accuracy(result).mean),
                xytext=(5, 3),
                textcoords="offset points",
                fontsize=7.5,
                color=shade,
            )
        axes.set_xscale("log", base=2)
        axes.set_xlabel("FLOPs of training, times joint's")
        axes.set_ylabel("test accuracy (%)")
        axes.set_title(material.titled(dataset), loc="left")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.margins(x=0.25)
    return figure


def cost_ratio(result: Result) -> float:
    """FLOPs of a training step over those of the same model trained jointly."""
    return result.flops.training / result.flops.training_joint


def _point(axes: Axes, x: float, value: Spread, shade: str) -> None:
    spread = [100 * value.std] if value.std is not None else None
    axes.errorbar([x], [100 * value.mean], spread, color=shade, marker="o", markersize=5, capsize=3)
    seeds = [100 * each for each in value.per_seed]
    axes.plot([x] * len(seeds), seeds, linestyle="none", marker="o", markersize=2.5, color=shade, alpha=0.5)
