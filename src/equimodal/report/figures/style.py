"""One look for all figures, and files whose bytes depend on nothing but what is drawn."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from equimodal.report.result import Result

# Okabe and Ito's colours, told apart by people with any common colour blindness; line styles repeat the distinction.
FUSED = "#1a1a1a"
TRAIN = "#8c8c8c"
PALETTE = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SEQUENCE = "cividis"

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same on every machine
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # TrueType: journals refuse type 3
    "svg.hashsalt": "equimodal",
    "savefig.dpi": 160,
    "path.simplify": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's own defaults with `RC` over them, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for name, value in RC.items():
            matplotlib.rcParams[name] = value  # type: ignore[index]
        yield


def color(modality: str, modalities: Iterable[str]) -> str:
    """A modality's colour: by its place among the dataset's,
    so that one modality looks alike in all figures of a dataset.
    """
    return PALETTE[list(modalities).index(modality) % len(PALETTE)]


def canvas(result: Result, title: str, width: float, height: float) -> Figure:
    """An empty figure (inches) with a title, and a line below it when its numbers come from generated samples."""
    return blank(f"{result.name}: {title}", footer(result), result.source == "sample", width, height)


def blank(title: str, foot: str, warns: bool, width: float, height: float) -> Figure:
    """An empty figure (inches) with a title and a line below; `warns`: in a colour that is seen."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10.5, x=0.01, ha="left")
    figure.supxlabel(foot, fontsize=7.5, color="#a03000" if warns else "#666666", x=0.01, ha="left")
    return figure


def footer(result: Result) -> str:
    """Where the numbers come from."""
    seeds = f"{len(result.seeds)} seed{'s' if len(result.seeds) > 1 else ''}"
    if result.source == "sample":
        return f"source: sample. Generated samples: this shows that the chain works and is no result. {seeds}."
    return f"source: {result.source}. {seeds}."


def legend_beside(axes: Axes, **options: Any) -> None:
    """A legend to the right of the data, never on it."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0, **options)


def plain(name: str) -> str:
    """A name of the user's as it is drawn: its dollars begin no formula, and what neither fonts nor SVG know, such as
    control characters, is the sign for that.
    """
    return _UNKNOWN.sub("\ufffd", name).replace("$", r"\$")


_UNKNOWN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def percent_axis(axes: Axes, label: str) -> None:
    """Shares from 0 to 100 %."""
    axes.set_ylim(0, 103)
    axes.set_ylabel(label)


def save(figure: Figure, stem: Path) -> None:
    """Write stem.svg and stem.png."""
    for ending in ("svg", "png"):
        write(figure, stem.with_suffix(f".{ending}"))


def write(figure: Figure, path: Path) -> None:
    """Write a .svg, .png or .pdf, without dates or versions."""
    names = {".svg": ("Date", "Creator"), ".png": ("Software",), ".pdf": ("CreationDate", "Creator", "Producer")}
    figure.savefig(path, metadata=dict.fromkeys(names[path.suffix]))
