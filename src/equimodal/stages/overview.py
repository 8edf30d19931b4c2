"""Stage overview: the study's results on one dataset side by side, as results/tables/D.md and D.html."""

from pathlib import Path

from equimodal.engines.layout import result_path
from equimodal.params import Params
from equimodal.report.formats.html import html
from equimodal.report.formats.markdown import markdown
from equimodal.report.overview import by_rule, caption, comparison, regressions
from equimodal.report.result import Result
from equimodal.store import atomic

FOLDER = Path("results/tables")


def run(params: Params, dataset: str) -> None:
    """Read the result of every method of the study; write the two files."""
    methods = params.study.methods
    results = [Result.read(result_path(dataset, method)) for method in methods]
    lines = caption(results)
    tables = [
        ("Chosen on validation", comparison(results)),
        (f"Test {'MAE' if regressions(results) else 'accuracy'} by selection rule", by_rule(results)),
    ]
    note = lines[-1] if any(result.source == "sample" for result in results) else None
    texts = {
        ".md": markdown(f"Methods on {dataset}", tables, lines),
        ".html": html(f"Methods on {dataset}", tables, lines, note),
    }
    for ending, text in texts.items():
        with atomic(FOLDER / f"{dataset}{ending}") as scratch:
            scratch.write_text(text, encoding="utf-8")
