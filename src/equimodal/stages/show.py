"""Print results side by side; for people, no engine calls it."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from equimodal.engines import study
from equimodal.engines.layout import figures_folder, result_path
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
    """Where to look next: figures, the runs, the report; only commands that params.yaml and the files here allow."""
    drawn = [
        figures_folder(r.dataset, r.method.name) for r in results if figures_folder(r.dataset, r.method.name).is_dir()
    ]
    here = [
        r
        for r in results
        if r.dataset in params.datasets
        and r.method.name in params.methods
        and result_path(r.dataset, r.method.name).is_file()
    ]
    lines = []
    if drawn:
        lines.append(f"  figures  {drawn[0]}/")
    elif here:
        lines.append(f"  figures  snakemake --cores 4 -- {figures_folder(here[0].dataset, here[0].method.name)}")
    if params.tracking.enabled:
        lines.append(f"  runs     mlflow ui --backend-store-uri {params.tracking.uri}")
    if here:
        lines.append(f"  report   {_report_command(params, here)}")
    return ["Next:", *lines] if lines else []


def _report_command(params: Params, results: list[Result]) -> str:
    """Snakemake's report of the study, which shows what of it is built; of the results themselves where one is not of
    the study.
    """
    members = study.members(params)["results"]
    paths = [str(result_path(result.dataset, result.method.name)) for result in results]
    named = "" if all(path in members for path in paths) else f" -- {' '.join(dict.fromkeys(paths))}"
    return f"snakemake --report report.html{named}"


def _line(console: Console, text: str) -> None:
    console.print(Text(text.rstrip()), soft_wrap=True)
