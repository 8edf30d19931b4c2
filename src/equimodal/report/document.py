"""Tables with a caption, and the numbers behind them, in every format that they are wanted in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from equimodal.report.formats.cells import Table
from equimodal.report.formats.csv import csv_text
from equimodal.report.formats.html import html
from equimodal.report.formats.latex import latex
from equimodal.report.formats.markdown import markdown


@dataclass(frozen=True)
class Document:
    """Tables with a caption, and the same numbers unrounded.

    Args:
        title: of the whole.
        lines: the caption: what a reader must know.
        note: the one of `lines` that stands out, if any.
        tables: (name, (heads, rows)).
        records: rows of the CSV, None where a number is not defined; their keys are its columns.
    """

    title: str
    lines: list[str]
    note: str | None
    tables: list[tuple[str, Table]]
    records: Sequence[dict[str, Any]]

    def formats(self) -> dict[str, str]:
        """Ending -> text: .md, .csv, .tex and .html (for Snakemake's report)."""
        points = [f"- {line}" for line in self.lines]
        return {
            ".md": markdown(self.title, self.tables, points),
            ".csv": csv_text(self.records),
            ".tex": latex(self.title, self.tables, self.lines),
            ".html": html(self.title, self.tables, self.lines, self.note),
        }
