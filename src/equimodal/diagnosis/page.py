"""A diagnosis as one HTML page: figures inside as SVG, every text escaped, no script, no network."""

import io
from html import escape

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from equimodal.diagnosis.content import Content, Entry, Measured
from equimodal.diagnosis.text import footer, label, number, summary
from equimodal.report.figures.style import FUSED, color, style
from equimodal.report.formats.html import STYLE

MORE_STYLE = """
body { max-width: 60rem; }
.verdict { font-size: 1.15rem; border-left: 4px solid #0072b2; padding-left: 1rem; }
svg { max-width: 100%; height: auto; }
"""


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
            f"<p>{escape(measured.source)}. Passes beside the plain one: {measured.passes}.</p>",
            _figure(content, measured),
            _table(
                ("number", "of", f"value ({content.confidence:.0%} interval)"),
                [(e.quantity, label(e, measured.axis), number(e.estimate)) for e in measured.entries],
            ),
        ]
    if content.notes:
        parts += ["<h2>Not measured</h2>", _list(content.notes)]
    parts.append(f"<p>{escape(footer(content))}</p>")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}{MORE_STYLE}</style>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _figure(content: Content, measured: Measured) -> str:
    """One axes for each quantity: lines with bands over `at`, else bars with intervals."""
    quantities = list(dict.fromkeys(entry.quantity for entry in measured.entries))
    with style():
        figure = Figure(figsize=(2.9 * len(quantities) + 0.6, 2.4), layout="constrained")
        FigureCanvasAgg(figure)
        for place, quantity in enumerate(quantities, 1):
            axes = figure.add_subplot(1, len(quantities), place)
            axes.set_title(_plain(quantity))
            entries = [entry for entry in measured.entries if entry.quantity == quantity]
            if all(entry.at is None for entry in entries):
                _bars(axes, content, entries)
            else:
                _lines(axes, content, entries, measured.axis or "")
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    return svg[svg.index("<svg") :]  # without the XML declaration, which has no place inside a page


def _bars(axes: Axes, content: Content, entries: list[Entry]) -> None:
    for place, entry in enumerate(entries):
        estimate = entry.estimate
        axes.barh(place, estimate.value, height=0.6, color=_color(content, entry.of))
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [place, place], color="#555555", linewidth=1.4)
    axes.set_yticks(range(len(entries)), [_plain(entry.of) for entry in entries])
    axes.invert_yaxis()


def _lines(axes: Axes, content: Content, entries: list[Entry], axis: str) -> None:
    for of in dict.fromkeys(entry.of for entry in entries):
        line = [entry for entry in entries if entry.of == of and entry.at is not None]
        x = [entry.at for entry in line if entry.at is not None]
        drawn = _color(content, of)
        axes.plot(x, [entry.estimate.value for entry in line], color=drawn, marker="o", markersize=3, label=_plain(of))
        ends = [(e.estimate.low, e.estimate.high) for e in line]
        if all(low is not None and high is not None for low, high in ends):
            axes.fill_between(
                x, [low or 0.0 for low, _ in ends], [high or 0.0 for _, high in ends], color=drawn, alpha=0.18
            )
    axes.set_xlabel(_plain(axis))
    axes.legend()


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # matplotlib would read formulas


def _color(content: Content, of: str) -> str:
    return color(of, content.modalities) if of in content.modalities else FUSED
