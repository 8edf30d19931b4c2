"""Print results side by side; for people, no engine calls it."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from equimodal.engines.layout import figures_folder
from equimodal.params import Params
from equimodal.report.overview import caption, comparison
from equimodal.report.result import Result


def run(params: Params, results: list[Path], console: Console | None = None) -> None:
    """Print a table of the result files, what its numbers are, and where to look next;
    plain text when not on a terminal.
    """
    read = [Result.read(path) for path in results]
    console = console or Console(highlight=False)
    heads, rows = comparison(read)
    if console.is_terminal:
        table = Table(header_style="bold", box=None, pad_edge=False)
        for i, head in enumerate(heads):
            table.add_column(Text(head.replace(" (", "\n(")), justify="left" if i == 0 else "right", no_wrap=i == 0)
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
    else:
        widths = [max(len(line[i]) for line in [heads, *rows]) for i in range(len(heads))]
        for cells in [heads, *rows]:
            padded = [
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            _line(console, "  ".join(padded))
    _line(console, "")
    for line in caption(read):
        _line(console, line)
    for line in next_steps(params, read):
        _line(console, line)


def next_steps(params: Params, results: list[Result]) -> list[str]:
    """Where to look next: figures, the runs, the report."""
    first = results[0]
    drawn = [
        figures_folder(r.dataset, r.method.name) for r in results if figures_folder(r.dataset, r.method.name).is_dir()
    ]
    folder = figures_folder(first.dataset, first.method.name)
    lines = ["Next:"]
    lines.append(f"  figures  {drawn[0]}/" if drawn else f"  figures  snakemake --cores 4 -- {folder}")
    if params.tracking.enabled:
        lines.append(f"  runs     mlflow ui --backend-store-uri {params.tracking.uri}")
    lines.append("  report   snakemake --report report.html")
    return lines


def _line(console: Console, text: str) -> None:
    console.print(Text(text.rstrip()), soft_wrap=True)
