"""Accuracy (of a regression: mean absolute error) over epochs, fused and by modality (AIM's Fig. 1)."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from equimodal.report.curves import Curves
from equimodal.report.figures.lines import band, mark_start
from equimodal.report.figures.style import FUSED, TRAIN, canvas, color, legend_beside, percent_axis
from equimodal.report.result import Result


def draw(result: Result, curves: Curves) -> Figure:
    """Validation accuracy of the fused head and of each modality's readout, and training accuracy;
    mean and range over seeds.
    """
    numbers = result.task == "regression"
    measure, scale = ("mae", 1) if numbers else ("accuracy", 100)
    figure = canvas(result, "mean absolute error while training" if numbers else "accuracy while training", 7.2, 3.6)
    axes = figure.add_subplot()
    modalities = list(result.imbalance.s)
    trained = "training, fused" if len(modalities) > 1 else "training"
    band(
        axes, curves.epochs, scale * curves.of(f"train/{measure}"), TRAIN, trained, linestyle=(0, (4, 2)), linewidth=1.4
    )
    if len(modalities) > 1:
        band(axes, curves.epochs, scale * curves.of(f"val/{measure}"), FUSED, "validation, fused", linewidth=2.2)
    for name in modalities:
        label = f"validation, {name}" + (f" ({result.own_readout})" if len(modalities) > 1 else "")
        band(
            axes, curves.epochs, scale * curves.of(f"val/{name}/{measure}"), color(name, result.data.modalities), label
        )
    mark_start(axes, result.method.settings.get("start_epoch"))
    if not numbers:
        chance = 100 / len(result.classes)
        axes.axhline(chance, color="#bbbbbb", linewidth=1, linestyle=(0, (1, 2)), label="chance (1 / classes)")
    axes.set_xlabel("epoch" + ("; dashed: modulation starts" if result.method.settings.get("start_epoch") else ""))
    axes.set_xlim(1, max(2, len(curves.epochs)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if numbers:
        axes.set_ylim(bottom=0)
        axes.set_ylabel("mean absolute error (labels' unit)")
    else:
        percent_axis(axes, "accuracy (%)")
    legend_beside(axes)
    return figure
