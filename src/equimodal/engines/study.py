"""The study's members: the results, figures and tables that plain `snakemake` builds, and those that a report shows."""

import sys
from pathlib import Path

from equimodal.engines.declarations import TABLES, study_methods
from equimodal.engines.layout import figures_folder, paper_path, result_path
from equimodal.params import Params

Members = dict[
    str, dict[str, list[str]]
]  # kind (results, figures, tables, paper) -> member -> results it is drawn from


def members(params: Params) -> Members:
    """Every member of the study, with the results of the study that it is drawn from."""
    methods = [method for method in study_methods(params) if method is not None]
    results = {dataset: [str(result_path(dataset, m)) for m in methods] for dataset in params.study.datasets}
    everything = [path for paths in results.values() for path in paths]
    return {
        "results": {path: [] for path in everything},
        "figures": {
            str(figures_folder(dataset, m)): [str(result_path(dataset, m))] for dataset in results for m in methods
        },
        "tables": {
            **{f"results/tables/{dataset}.html": paths for dataset, paths in results.items()},
            **{f"results/tables/{table}.html": everything for table in TABLES},
        },
        "paper": {
            str(paper_path(name, "html" if params.studies[name].is_table else "svg")): []
            for name in (*params.study.tables, *params.study.figures)
        },
    }


def asks_for_report(words: list[str]) -> bool:
    """Whether Snakemake's command line `words` asks for a report of what is there, not for one after a run."""
    options = [word.partition("=")[0] for word in (words[: words.index("--")] if "--" in words else words)]
    return ("--report" in options or "--reporter" in options) and "--report-after-run" not in options


def targets(params: Params, words: list[str]) -> dict[str, list[str]]:
    """Inputs of the rule `study`, by kind: all members; under `--report` those that exist and whose results exist.

    Snakemake refuses a report with any file that was never built. The members left out are counted in one line on
    stderr; a report without any member ends Snakemake with one line.
    """
    for dataset in params.study.datasets:
        if dataset in params.broken:
            sys.exit(f"error: {params.broken[dataset]}")
    found = members(params)
    if not asks_for_report(words):
        return {kind: list(paths) for kind, paths in found.items()}
    shown = {
        kind: [path for path, results in paths.items() if all(Path(each).exists() for each in [path, *results])]
        for kind, paths in found.items()
    }
    total, count = (sum(map(len, kinds.values())) for kinds in (found, shown))
    what = f"of the study's {total} results, figures and tables"
    if not count:
        sys.exit(
            f"error: none {what} has been built, so that a report has nothing to show: build them first"
            " (snakemake --cores 4), or name what is there (snakemake --report report.zip -- results/cremad_aim.json)"
        )
    if count < total:
        print(
            f"report: {count} {what}; the other {total - count} are not built and left out (snakemake --cores 4"
            " builds them)",
            file=sys.stderr,
        )
    return shown
