"""Ranks of methods over datasets, and which of them the datasets can tell apart (Demsar, JMLR 7, 2006)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from equimodal.report.names import method_name
from equimodal.report.paper.depths import empty
from equimodal.report.paper.material import Material
from equimodal.report.paper.panels import sheet, test_accuracy

LEVEL = 0.05


def draw(material: Material) -> Figure:
    """Critical-difference diagram: mean rank over the datasets, 1 the best; bars join methods whose ranks differ by
    less than Nemenyi's critical difference. Methods that a dataset refuses take no part.
    """
    complete = [m for m in material.methods if all((d, m) in material.results for d in material.datasets)]
    if len(complete) < 2:
        return empty(material, "Ranks over datasets", "Fewer than two methods have results on all datasets.")
    accuracies = [[test_accuracy(material.results[d, m]).mean for m in complete] for d in material.datasets]
    ranks = mean_ranks(accuracies)
    distance = critical_difference(len(complete), len(material.datasets))
    order = sorted(range(len(complete)), key=lambda i: ranks[i])
    count, half = len(complete), (len(complete) + 1) // 2
    on = ", ".join(material.titled(dataset) for dataset in material.datasets)
    title = f"Mean rank by accuracy over {len(material.datasets)} datasets: {on}"
    figure = sheet(material, title, 8.0, 1.9 + 0.26 * half)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(count + 2.2, -1.2)  # rank 1 at the right
    axes.set_ylim(-half - 1.2, 2.6)
    axes.plot([1, count], [0, 0], color="#1a1a1a", linewidth=1)
    for tick in range(1, count + 1):
        axes.plot([tick, tick], [0, 0.18], color="#1a1a1a", linewidth=1)
        axes.text(tick, 0.3, str(tick), ha="center", fontsize=8)
    shown = min(distance, count - 1.0)
    axes.plot([1, 1 + shown], [1.7, 1.7], color="#a03000", linewidth=1.5)
    what = f"critical difference {distance:.2f} (Nemenyi, p < {LEVEL})"
    axes.text(1, 1.95, what, ha="right", fontsize=8, color="#a03000")
    for place, i in enumerate(order):
        best = place < half
        level = float(-(place + 1) if best else -(count - place))
        edge, side = (0.4, "left") if best else (count + 0.6, "right")
        axes.plot([ranks[i], ranks[i], edge], [0, level, level], color="#777777", linewidth=0.8)
        axes.text(edge, level, f" {method_name(complete[i])} ({ranks[i]:.2f}) ", ha=side, va="center", fontsize=8)
    for height, (first, last) in enumerate(cliques([ranks[i] for i in order], distance)):
        level = -0.3 - 0.3 * (height % 3)
        axes.plot([ranks[order[first]] - 0.05, ranks[order[last]] + 0.05], [level, level], color="#1a1a1a", linewidth=3)
    return figure


def mean_ranks(accuracies: Sequence[Sequence[float]]) -> np.ndarray:
    """Mean rank [methods] over datasets of accuracies [datasets][methods]; 1 is the highest, equals share their
    ranks' mean.
    """
    from scipy.stats import rankdata

    return np.mean([rankdata([-value for value in row]) for row in accuracies], axis=0)


def critical_difference(methods: int, datasets: int) -> float:
    """Nemenyi's: q sqrt(k (k + 1) / (6 N)), q the studentized range's quantile over sqrt(2)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - LEVEL, methods, np.inf)) / 2**0.5
    return q * (methods * (methods + 1) / (6 * datasets)) ** 0.5


def cliques(ranks: Sequence[float], distance: float) -> list[tuple[int, int]]:
    """Longest runs (first, last) of sorted ranks that span less than `distance`, of two or more."""
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(i for i in range(first, len(ranks)) if ranks[i] - ranks[first] < distance)
        if last > first and not any(last <= end for _, end in found):
            found.append((first, last))
    return found
