"""What AIM's methods measure by depth: cosines of prototypes (Fig. 4 of AIM's paper), discriminability of blocks
(Fig. 5) and imbalance alpha (Fig. 6).
"""

import numpy as np
from matplotlib.figure import Figure

from equimodal.report.figures.cosines import off_diagonal
from equimodal.report.figures.lines import band, mark_start
from equimodal.report.figures.scores import KINDS, epoch_axis
from equimodal.report.figures.style import SEQUENCE, color, percent_axis
from equimodal.report.names import method_name
from equimodal.report.paper.material import Key, Material
from equimodal.report.paper.panels import method_color, method_line, sheet


def draw_prototypes(material: Material) -> Figure:
    """A row per pair and modality, a column per depth: mean over seeds of the prototypes' cosines after the warm-up."""
    rows: list[tuple[Key, str, list[np.ndarray]]] = []
    for key, logs in material.fits.items():
        known = [log["cosine"] for log in logs if "cosine" in log]
        for name in known[0] if known else ():
            depths = range(len(known[0][name]))
            rows.append((key, name, [np.mean([each[name][depth] for each in known], axis=0) for depth in depths]))
    if not rows:
        return empty(material, "Cosine of class prototypes", "No method of the study has prototypes.")
    columns = max(len(maps) for _, _, maps in rows)
    size = (1.9 * columns + 1.6, 2.0 * len(rows) + 0.8)
    figure = sheet(material, "Cosine of class prototypes after the warm-up, by depth", *size)
    panels = figure.subplots(len(rows), columns, squeeze=False)
    low = min(0.0, *(float(line.min()) for _, _, maps in rows for line in maps))
    for row, ((dataset, method), name, maps) in enumerate(rows):
        for depth, axes in enumerate(panels[row]):
            axes.grid(visible=False)
            axes.set_xticks([])
            axes.set_yticks([])
            if depth >= len(maps):
                axes.set_axis_off()
                continue
            image = axes.imshow(maps[depth], cmap=SEQUENCE, vmin=low, vmax=1, interpolation="none")
            axes.set_xlabel(f"mean off diagonal {off_diagonal(maps[depth]):.2f}", fontsize=8)
            if row == 0:
                axes.set_title(f"depth {depth + 1}", loc="left")
        panels[row, 0].set_ylabel(f"{in_lines(material, dataset)}\n{method_name(method)}: {name}", fontsize=7.5)
    # Square panels shrink within their places, and the layout leaves the labels no room for it.
    figure.get_layout_engine().set(rect=(0.04, 0, 0.96, 1))  # type: ignore[union-attr,call-arg]
    bar = figure.colorbar(image, ax=panels, shrink=0.8, aspect=30)
    bar.set_label("cosine")
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def draw_blocks(material: Material) -> Figure:
    """Above, for each pair, a panel per depth: s, s~ and s_g over epochs on training batches (Fig. 5a); at the right
    the accuracy that the variants reach (Fig. 5b).
    """
    pairs = [key for key in material.results if material.curves[key].depths()]
    if not pairs:
        return empty(material, "Discriminability of blocks", "No epoch of the study was modulated.")
    depths = max(max(material.curves[key].depths()) for key in pairs)
    size = (2.2 * depths + 5.2, 2.3 * len(pairs) + 0.9)
    figure = sheet(material, "Discriminability of original and auxiliary blocks, and accuracy", *size)
    panels = figure.subplots(len(pairs), depths + 1, squeeze=False, width_ratios=[*[1.0] * depths, 1.5])
    for row, (dataset, method) in enumerate(pairs):
        result, curves = material.results[dataset, method], material.curves[dataset, method]
        for depth in range(1, depths + 1):
            axes = panels[row, depth - 1]
            for name in result.imbalance.s:
                shade = color(name, result.data.modalities)
                for kind, label, line in KINDS:
                    values = curves.of(f"depth{depth}/{name}/{kind}")
                    text = f"{name}: {label}"
                    band(axes, curves.epochs, values, shade, text, kind == "s", linestyle=line, linewidth=1.5)
            mark_start(axes, result.method.settings.get("start_epoch"))
            axes.set_ylim(bottom=0)
            axes.set_title(f"depth {depth}", loc="left")
            epoch_axis(axes, curves)
        panels[row, 0].set_ylabel(f"{in_lines(material, dataset)}\n{method_name(method)}\n$s_d$ by batch", fontsize=7.5)
        last = panels[row, depths]
        if dataset in [drawn for drawn, _ in pairs[:row]]:  # once for a dataset's methods
            last.set_axis_off()
            continue
        for other in material.on(dataset):
            there = material.curves[dataset, other]
            shade, line = method_color(material, other), method_line(material, other)
            band(last, there.epochs, 100 * there.of("val/accuracy"), shade, method_name(other), linestyle=line)
        epoch_axis(last, curves)
        last.set_title("accuracy", loc="left")
        percent_axis(last, "validation accuracy (%)")
        last.legend(loc="lower right", fontsize=7)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=7.5)
    return figure


def draw_alpha(material: Material) -> Figure:
    """For each dataset a panel per depth: alpha_d over epochs on training batches, of methods that measure it; at the
    right, of every method at the end, on test against class-mean prototypes.
    """
    rows = [d for d in material.datasets if any(r.imbalance.alpha is not None for r in material.on(d).values())]
    if not rows:
        return empty(material, "Imbalance between modalities", "No model of the study has two modalities.")
    ends = {d: max(len(r.imbalance.alpha or []) for r in material.on(d).values()) for d in rows}
    columns = max(ends.values())
    figure = sheet(material, "Imbalance between modalities by depth", 2.2 * columns + 4.6, 2.5 * len(rows) + 0.9)
    panels = figure.subplots(len(rows), columns + 1, squeeze=False, width_ratios=[*[1.0] * columns, 1.3])
    for row, dataset in enumerate(rows):
        for depth in range(1, columns + 1):
            axes = panels[row, depth - 1]
            for method, result in material.on(dataset).items():
                curves = material.curves[dataset, method]
                shade, line = method_color(material, method), method_line(material, method)
                values = curves.of(f"depth{depth}/alpha")
                band(axes, curves.epochs, values, shade, method_name(method), linestyle=line)
                mark_start(axes, result.method.settings.get("start_epoch"))
                epoch_axis(axes, curves)
            axes.set_ylim(bottom=0)
            axes.set_title(f"depth {depth}", loc="left")
        panels[row, 0].set_ylabel(f"{in_lines(material, dataset)}\n$\\alpha_d$ on training batches", fontsize=8)
        end = panels[row, columns]
        for method, result in material.on(dataset).items():
            if result.imbalance.alpha is not None:
                x = np.arange(len(result.imbalance.alpha)) + 1
                shade, line = method_color(material, method), method_line(material, method)
                means = [each.mean for each in result.imbalance.alpha]
                spread = [each.std or 0 for each in result.imbalance.alpha]
                end.errorbar(
                    x,
                    means,
                    spread,
                    color=shade,
                    linestyle=line,
                    marker="o",
                    markersize=4,
                    capsize=3,
                    label=method_name(method),
                )
        end.set_ylim(bottom=0)
        end.set_xticks(range(1, ends[dataset] + 1))
        end.set_xlabel("depth")
        end.set_title("at the end, on test", loc="left")
    figure.legend(*panels[0, columns].get_legend_handles_labels(), loc="outside right upper")
    return figure


def in_lines(material: Material, dataset: str) -> str:
    """The dataset's title, what is in brackets on a line of its own: beside a panel there is little room."""
    return material.titled(dataset).replace(" (", "\n(")


def empty(material: Material, title: str, reason: str) -> Figure:
    """A figure that says why there is nothing to see."""
    figure = sheet(material, title, 6.0, 2.2)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, reason, ha="center", va="center", color="#555555")
    return figure
