"""One page of tables in every format it is wanted in."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from equimodal.report.latex import latex
from equimodal.report.pages import Table, html, markdown


@dataclass(frozen=True)
class Page:
    """Tables with a caption, and the same numbers unrounded.

    Args:
        title: of the page.
        lines: the caption: what a reader must know.
        note: the one of `lines` that stands out, if any.
        tables: (name, (heads, rows)).
        records: rows of the CSV, None where a number is not defined; keys of the first are its columns.
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
            ".csv": self._csv(),
            ".tex": latex(self.title, self.tables, self.lines),
            ".html": html(self.title, self.tables, self.lines, self.note),
        }

    def _csv(self) -> str:
        out = io.StringIO()
        heads = list(dict.fromkeys(key for record in self.records for key in record))
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(heads)
        # repr of a float reads back as the same float.
        writer.writerows(
            [["" if (value := record.get(key)) is None else value for key in heads] for record in self.records]
        )
        return out.getvalue()
