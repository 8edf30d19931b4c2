"""Tables as an HTML page that stands alone."""

from collections.abc import Sequence
from html import escape

from equimodal.report.formats.cells import Table, wrap
from equimodal.report.rules import WARNING

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; margin: 2rem; }
table { border-collapse: collapse; margin: 1rem 0 2rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
th { border-bottom: 2px solid #888; font-weight: 600; }
.note { color: #a03000; }
"""


def html(title: str, tables: Sequence[tuple[str, Table]], lines: Sequence[str], note: str | None) -> str:
    """A heading, lines of text, and tables with their own headings, without scripts or links; `note`, one of the lines,
    and warnings stand out.
    """
    parts = [
        f"<h1>{escape(title)}</h1>",
        *(
            f"<p{' class=note' if line == note or line.startswith(WARNING) else ''}>{escape(line)}</p>"
            for line in lines
        ),
    ]
    for name, (heads, rows) in tables:
        head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
        body = "\n".join(
            "<tr>"
            + "".join("<td>" + wrap(cell, escape(cell), "<b>{}</b>", "<u>{}</u>") + "</td>" for cell in row)
            + "</tr>"
            for row in rows
        )
        parts.append(
            f"<h2>{escape(name)}</h2>\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
        )
    content = "\n".join(parts)
    head = f'<head><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style></head>'
    return f'<!doctype html>\n<html lang="en">\n{head}\n<body>\n{content}\n</body>\n</html>\n'
