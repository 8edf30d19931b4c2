"""Accuracy over epochs: of each modality inside several models (Fig. 1 of AIM's paper), and of the models, with what
they cost (Fig. 8).
"""

from typing import Any

from matplotlib.figure import Figure

from equimodal.report.figures.lines import band, mark_start
from equimodal.report.figures.scores import epoch_axis
from equimodal.report.figures.style import percent_axis
from equimodal.report.names import method_name
from equimodal.report.paper.material import Material
from equimodal.report.paper.panels import method_color, method_line, sheet


def draw_modalities(material: Material) -> Figure:
    """A panel per dataset and modality, a line per model: validation accuracy of the modality's own readout, mean and
    range over seeds. Models of one modality are the mark to reach.
    """
    names = {
        d: list(dict.fromkeys(n for r in material.on(d).values() for n in r.imbalance.s)) for d in material.datasets
    }
    columns = max(map(len, names.values()))
    size = (3.1 * columns + 2.2, 2.6 * len(material.datasets) + 0.8)
    figure = sheet(material, "Accuracy of each modality inside the models while training", *size)
    panels = figure.subplots(len(material.datasets), columns, squeeze=False)
    for row, dataset in enumerate(material.datasets):
        for column, axes in enumerate(panels[row]):
            if column >= len(names[dataset]):
                axes.set_axis_off()
                continue
            name = names[dataset][column]
            for method, result in material.on(dataset).items():
                if name in result.imbalance.s:
                    curves = material.curves[dataset, method]
                    shade, line = method_color(material, method), method_line(material, method)
                    values = 100 * curves.of(f"val/{name}/accuracy")
                    band(axes, curves.epochs, values, shade, method_name(method), linestyle=line)
                    epoch_axis(axes, curves)
            axes.set_title(f"{material.titled(dataset)}: {name}", loc="left")
            percent_axis(axes, "validation accuracy (%)" if column == 0 else "")
    _legend(figure)
    return figure


def draw_convergence(material: Material) -> Figure:
    """A panel per dataset, a line per method: validation accuracy, mean and range over seeds; the legend says what a
    sample costs in training, forward and backward.
    """
    figure = sheet(material, "Accuracy while training, and its cost", 5.4 * len(material.datasets), 3.4)
    panels = figure.subplots(1, len(material.datasets), squeeze=False)[0]
    for axes, dataset in zip(panels, material.datasets, strict=True):
        for method, result in material.on(dataset).items():
            curves = material.curves[dataset, method]
            label = f"{method_name(method)}, {amount(result.flops.training)}"
            shade, line = method_color(material, method), method_line(material, method)
            band(axes, curves.epochs, 100 * curves.of("val/accuracy"), shade, label, linestyle=line)
            mark_start(axes, result.method.settings.get("start_epoch"))
            epoch_axis(axes, curves)
        axes.set_title(material.titled(dataset), loc="left")
        axes.set_ylabel("validation accuracy (%)")
        axes.legend(title="FLOPs of a training sample", loc="lower right", fontsize=7.5, title_fontsize=7.5)
    return figure


def amount(flops: float) -> str:
    """1.2 GFLOP."""
    unit, name = next((u, n) for u, n in ((1e9, "GFLOP"), (1e6, "MFLOP"), (1.0, "FLOP")) if flops >= u or u == 1)
    return f"{flops / unit:.3g} {name}"


def _legend(figure: Figure) -> None:
    """One for all panels, beside them."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        found |= {label: handle for handle, label in zip(handles, labels, strict=True) if label not in found}
    figure.legend(list(found.values()), list(found), loc="outside right upper")
