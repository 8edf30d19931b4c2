"""Tables as Markdown."""

from collections.abc import Sequence

from equimodal.report.formats.cells import Table, wrap


def markdown(title: str, tables: Sequence[tuple[str, Table]], lines: Sequence[str]) -> str:
    """A heading, lines of text, and tables with their own headings; columns line up in the plain text, too."""
    parts = [f"# {title}", "", *lines, ""]
    for name, table in tables:
        parts += [f"## {name}", "", _table(*table), ""]
    return "\n".join(parts)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    import pandas as pd  # half a second, which a command that writes no table should not wait for

    # dtype and disable_numparse: cells are text, and 80.0 must not become 80. Neither library escapes anything.
    frame = pd.DataFrame([list(map(_cell, row)) for row in rows], columns=list(map(_cell, heads)), dtype=object)
    sides = ["left", *["right"] * (len(heads) - 1)]
    return frame.to_markdown(index=False, tablefmt="pipe", colalign=sides, disable_numparse=True)


def _cell(cell: str) -> str:
    return wrap(cell, cell.replace("|", "\\|"), "**{}**", "<ins>{}</ins>")
