"""Subcommands for people who run the workflow."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from equimodal.cli.program import app, call, read_params, run_stage
from equimodal.errors import UserError
from equimodal.settings.training import SEEDS

command = partial(app.command, rich_help_panel="Workflow: settings and results")

TableName = Literal["comparison", "modalities", "cost"]


@command()
def tables(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="result and cost files, such as results/grid-*.json; the study's when not given"),
    ] = None,
    table: Annotated[TableName | None, typer.Option(help="one of them; all when not given")] = None,
    out: Annotated[Path | None, typer.Option(help="folder to write to; results/tables for the study")] = None,
    methods: Annotated[
        str | None, typer.Option(help="rows to show, such as joint,aim; tests stay corrected for all files")
    ] = None,
) -> None:
    """Compare methods, modalities and cost from result files alone. Writes
    OUT/{comparison,modalities,cost}.{md,csv,tex,html}.
    """
    if (files or methods) and out is None:
        raise UserError("tables of given files or methods need --out FOLDER: results/tables holds the whole study's")
    if out is not None:
        shown = methods.split(",") if methods else None
        call("tables", table=table, files=files or None, out=out, methods=shown)
    else:
        run_stage("tables", table=table)


@command("study")
def study_section(name: Annotated[str, typer.Argument(help="a name of `studies` in params.yaml")]) -> None:
    """Print a section `study` for params.yaml with which plain `snakemake` and `dvc repro` build one of `studies`."""
    from equimodal.params.studies import study_section as section

    typer.echo(section(read_params(), name), nl=False)


@command()
def add_dataset(
    table: Annotated[Path, typer.Argument(help="a CSV with one row per sample: a file, a label, maybe split, speaker")],
    name: Annotated[str, typer.Option(help="of the new dataset")],
    root: Annotated[Path | None, typer.Option(help="folder that its paths are relative to; else the CSV's")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="ROLE=COLUMN where names do not tell: path, label, split, group, start, ..."),
    ] = None,
    array: Annotated[
        list[str] | None, typer.Option(help="MODALITY=FILE or FILE#KEY: an array with one row per sample")
    ] = None,
) -> None:
    """Add your own data to params.yaml: the columns and sizes told from the CSV and ten of its files."""
    given = pairs(column or [], "--column label=emotion"), pairs(array or [], "--array text=text.npy")
    call("add_dataset", table=table, name=name, root=root, columns=given[0], arrays=given[1])


def pairs(words: list[str], example: str) -> dict[str, str]:
    """NAME=VALUE words."""
    found = dict(word.partition("=")[::2] for word in words)
    if not all(name and value for name, value in found.items()):
        raise UserError(f"{' '.join(words)}: NAME=VALUE is needed, such as {example}")
    return found


@command()
def verify(dataset: Annotated[str, typer.Argument(help="a name of `datasets`")]) -> None:
    """Check a dataset's raw files against known sizes and checksums; list what is missing or unreadable."""
    call("verify", dataset=dataset)


@command()
def track() -> None:
    """Rebuild all MLflow runs from the files at hand."""
    call("track")


@command()
def register(
    dataset: Annotated[str, typer.Argument(help="a name of `datasets`")],
    method: Annotated[str, typer.Argument(help="a method")],
    seed: Annotated[
        int | None, typer.Option(min=0, max=SEEDS - 1, help="the one with the best validation accuracy when not given")
    ] = None,
    alias: Annotated[str, typer.Option(help="which serving asks for")] = "champion",
) -> None:
    """Put a trained model into MLflow's registry as DATASET-METHOD, for `mlflow models serve` and `predict`."""
    call("register", dataset=dataset, method=method, seed=seed, alias=alias)


@command()
def show(results: Annotated[list[Path], typer.Argument(help="result files, such as results/cremad_aim.json")]) -> None:
    """Print results side by side."""
    call("show", results=results)


@command()
def compare(
    first: Annotated[Path, typer.Argument(help="a result file, such as results/cremad_aim.json")],
    second: Annotated[Path, typer.Argument(help="another one on the same data")],
) -> None:
    """Compare two results over seeds (paired t test) and over test samples (McNemar's test)."""
    call("compare", first=first, second=second)


@command()
def schema(
    path: Annotated[Path, typer.Argument(help="where to write it")] = Path("workflow/schemas/params.schema.json"),
) -> None:
    """Write the JSON schema of params.yaml, which editors use for completion."""
    from equimodal.params.schema import params_schema
    from equimodal.store import write_json

    write_json(path, params_schema())


@command()
def explain(
    key: Annotated[
        str, typer.Argument(help="such as training.optimizer.lr or methods.aim.tau; the sections when not given")
    ] = "",
) -> None:
    """Tell what a key of params.yaml means, its type, its default and its value now."""
    from equimodal.params.explain import explain as explained
    from equimodal.params.explain import sections

    typer.echo(explained(read_params(), key) if key else sections(read_params()))
