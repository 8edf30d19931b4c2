"""A diagnosis as one HTML page: figures inside as SVG, every text escaped, no script, no network."""

import io
from html import escape

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from equimodal.diagnosis.content import Content, Entry, Measured
from equimodal.diagnosis.text import cost, footer, label, number, summary
from equimodal.report.figures.lines import BAND
from equimodal.report.figures.style import FUSED, color, plain, style
from equimodal.report.formats.html import STYLE

MORE_STYLE = """
body { max-width: 60rem; }
h1 { text-wrap: balance; }
th, td { text-align: left; }
.verdict { font-size: 1.15rem; border-left: 4px solid #0072b2; padding-left: 1rem; }
svg { max-width: 100%; height: auto; }
"""
VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'  # phones draw it at their own width
REFERENCE = "#777777"  # the balanced share; chance


def page(content: Content) -> str:
    """The whole page."""
    title = f"Diagnosis of {content.model}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(summary(content))}</p>",
        f"<p class=verdict>{escape(content.verdict)}</p>",
        _list([finding.text for finding in content.findings]),
    ]
    if content.advice:
        parts.append("<h2>Methods of this project that address it</h2>")
        parts.append(_table(("method", "why", "cost"), [(a.method, a.why, a.cost) for a in content.advice]))
    for measured in content.measures:
        parts += [
            f"<h2>{escape(measured.title)}</h2>",
            f"<p>{escape(measured.numbers)}.<br>{escape(measured.source)}. {escape(cost(measured).capitalize())}.</p>",
            _figure(content, measured),
            _table(
                ("number", "of", f"value ({content.confidence:.0%} interval)"),
                [(e.quantity, label(e, measured.axis), number(e.estimate)) for e in measured.entries],
            ),
        ]
    if content.notes:
        parts += ["<h2>Notes</h2>", _list(content.notes)]
    parts.append(f"<p>{escape(footer(content))}</p>")
    head = f'<meta charset="utf-8">{VIEWPORT}<title>{escape(title)}</title><style>{STYLE}{MORE_STYLE}</style>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _figure(content: Content, measured: Measured) -> str:
    """One axes for each quantity of two numbers or more: lines with bands over `at`, else bars with intervals; nothing
    where there is none.
    """
    by_quantity: dict[str, list[Entry]] = {}
    for entry in measured.entries:
        by_quantity.setdefault(entry.quantity, []).append(entry)
    chance = by_quantity.pop("chance", [])
    drawn = {quantity: entries for quantity, entries in by_quantity.items() if len(entries) > 1}
    if not drawn:
        return ""
    with style():
        figure = Figure(figsize=(3.2 * len(drawn) + 0.4, 2.3), layout="constrained")
        FigureCanvasAgg(figure)
        for place, (quantity, entries) in enumerate(drawn.items(), 1):
            axes = figure.add_subplot(1, len(drawn), place)
            axes.set_title(plain(quantity))
            if entries[0].at is None:
                _bars(axes, content, entries)
                if quantity == "share":
                    axes.axvline(1 / len(content.modalities), color=REFERENCE, linestyle="--", linewidth=1)
            else:
                _lines(axes, content, entries, measured.axis or "")
                if quantity == "score" and chance:
                    axes.axhline(chance[0].estimate.value, color=REFERENCE, linestyle="--", linewidth=1)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    # Without the XML declaration, which has no place inside a page
    return svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{escape(measured.title)}"', 1)


def _bars(axes: Axes, content: Content, entries: list[Entry]) -> None:
    for place, entry in enumerate(entries):
        estimate = entry.estimate
        axes.barh(place, estimate.value, height=0.5, color=_color(content, entry.of))
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [place, place], color="#1a1a1a", linewidth=1.2, marker="|")
    axes.set_yticks(range(len(entries)), [plain(entry.of) for entry in entries])
    axes.grid(False, axis="y")
    axes.invert_yaxis()


def _lines(axes: Axes, content: Content, entries: list[Entry], axis: str) -> None:
    for of in dict.fromkeys(entry.of for entry in entries):
        line = [entry for entry in entries if entry.of == of]
        x = [float(entry.at or 0) for entry in line]
        drawn = _color(content, of)
        axes.plot(x, [entry.estimate.value for entry in line], color=drawn, marker="o", markersize=3, label=plain(of))
        ends = [(e.estimate.low, e.estimate.high) for e in line]
        if all(low is not None and high is not None for low, high in ends):
            lows, highs = [low or 0.0 for low, _ in ends], [high or 0.0 for _, high in ends]
            axes.fill_between(x, lows, highs, color=drawn, alpha=BAND, linewidth=0)
    if axis in ("depth", "epoch"):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(plain(axis))
    axes.legend()


def _color(content: Content, of: str) -> str:
    return color(of, content.modalities) if of in content.modalities else FUSED
