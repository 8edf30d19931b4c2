"""How the figures of a paper look: one colour per method, samples named in the picture, one accuracy of a run."""

from typing import Any

from matplotlib.figure import Figure

from equimodal.report.figures.style import FUSED, PALETTE, blank
from equimodal.report.paper.material import Material
from equimodal.report.result import Result, Spread

LINES = ("-", (0, (5, 1.5)), (0, (2.5, 1.2)), (0, (1, 1)))


def sheet(material: Material, title: str, width: float, height: float) -> Figure:
    """An empty figure (inches); the line below says which datasets are generated samples."""
    foot = f"{material.seeds}. " + (material.warning or "")
    return blank(title, foot, material.warning is not None, width, height)


def method_color(material: Material, method: str) -> str:
    """By its place in the study; the last, which a study is about, is black."""
    place = material.methods.index(method)
    return FUSED if place == len(material.methods) - 1 else PALETTE[place % len(PALETTE)]


def method_line(material: Material, method: str) -> Any:
    """Another line where colours begin again."""
    place = material.methods.index(method)
    return "-" if place == len(material.methods) - 1 else LINES[place // len(PALETTE) % len(LINES)]


def test_accuracy(result: Result) -> Spread:
    """At the epoch that validation chose; of a regression by the nearest grid value."""
    return result.selection.val.accuracy
