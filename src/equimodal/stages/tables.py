"""Stage tables: the study's tables, or those of any result files, as Markdown, CSV, LaTeX and HTML for the report.
Nothing is trained or measured.
"""

from pathlib import Path

from equimodal.engines.layout import cost_path, result_path
from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.report.cost_file import Cost
from equimodal.report.result import Result
from equimodal.report.tables import comparison, cost, modalities
from equimodal.report.tables.collection import Collection
from equimodal.store import atomic, read_json

FOLDER = Path("results/tables")
DOCUMENTS = {"comparison": comparison.document, "modalities": modalities.document, "cost": cost.document}


def run(
    params: Params,
    table: str | None = None,
    files: list[Path] | None = None,
    out: Path = FOLDER,
    methods: list[str] | None = None,
) -> None:
    """Write OUT/TABLE.{md,csv,tex,html}.

    Args:
        table: one of `DOCUMENTS`; all of them when None.
        files: result and cost files, told apart by what they hold; those of the study when None. The study's costs are
            read for its cost table only.
        out: the folder.
        methods: the methods whose rows are shown, all when None. Tests stay those of all files: a comparison has one
            corrected p, however many rows a table shows.
    """
    for name in [table] if table else DOCUMENTS:
        found = read(files) if files is not None else study(params, with_costs=name == "cost")
        if methods is not None:
            found = found.only(methods)
        for ending, text in DOCUMENTS[name](found).formats().items():
            with atomic(out / f"{name}{ending}") as scratch:
                scratch.write_text(text, encoding="utf-8")


def study(params: Params, with_costs: bool) -> Collection:
    """Every result of the study; a missing one is a UserError that says how to build it."""
    pairs = [(dataset, method) for dataset in params.study.datasets for method in params.study.methods]
    return Collection.of(
        (Result.read(result_path(*pair)) for pair in pairs),
        (Cost.read(cost_path(*pair)) for pair in pairs) if with_costs else (),
    )


def read(files: list[Path]) -> Collection:
    """Any result and cost files."""
    results, costs = [], []
    for path in files:
        content = read_json(path)
        if isinstance(content, dict) and "machine" in content:
            costs.append(Cost.parse(content, path))
        elif isinstance(content, dict) and "selection" in content:
            results.append(Result.read(path))
        else:
            raise UserError(
                f"{path} is neither a result (results/DATASET_METHOD.json) nor a cost file"
                " (results/cost/DATASET_METHOD.json)"
            )
    return Collection.of(results, costs)
