"""The command line: one subcommand per stage, and a few for people. Thin, and quick to start: torch and MLflow are
imported by stages.
"""

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import typer

from equimodal.engines import experiments, locks
from equimodal.engines.layout import manifest_path
from equimodal.errors import UserError
from equimodal.params import load_params

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Balanced multimodal learning as a cached workflow.",
)

# The stages that import torch to read a dataset as its manifest describes it.
FROM_MANIFEST = ("warmup", "prototypes", "train", "tune", "evaluate", "operations", "reference", "cost")

DatasetOption = Annotated[str, typer.Option("--dataset", help="a name of `datasets` in params.yaml")]
MethodOption = Annotated[str, typer.Option("--method", help="a name of `methods` in params.yaml")]
TableName = Literal["comparison", "modalities", "cost"]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="seed of initialisation, order and augmentation")]


@app.command()
def raw(dataset: DatasetOption) -> None:
    """Get the raw files: generate the sample, check your copy, or download. Writes data/D/raw/manifest.json."""
    _stage("raw", dataset=dataset)


@app.command()
def index(dataset: DatasetOption) -> None:
    """List the samples with label, group and split. Writes data/D/index.json."""
    _stage("index", dataset=dataset)


@app.command()
def features(
    dataset: DatasetOption,
    modality: Annotated[str | None, typer.Option(help="one modality; all of the dataset's when not given")] = None,
) -> None:
    """Read clips into arrays. Writes data/D/features/MODALITY.npy and .json."""
    names = list(load_params().dataset(dataset).modalities)
    if modality is not None and modality not in names:
        raise UserError(f"unknown modality '{modality}'; {dataset} has: {', '.join(names)}")
    for name in names if modality is None else [modality]:
        _stage("features", dataset=dataset, modality=name)


@app.command()
def manifest(dataset: DatasetOption) -> None:
    """Join the features of a dataset, leave out what was rejected. Writes data/D/manifest.json."""
    _stage("manifest", dataset=dataset)


@app.command()
def weights(dataset: DatasetOption) -> None:
    """Check and convert the weights that encoders start from (model.weights). Writes data/D/weights.safetensors, empty
    where there are none.
    """
    _stage("weights", dataset=dataset)


@app.command()
def unimodal(dataset: DatasetOption, method: MethodOption, seed: SeedOption) -> None:
    """Hand a trained model of one modality to methods that start from such. Writes
    models/D/unimodal/S/M.safetensors.
    """
    _stage("unimodal", dataset=dataset, method=method, seed=seed)


@app.command()
def warmup(dataset: DatasetOption, method: MethodOption, seed: SeedOption) -> None:
    """Train jointly up to the epoch where modulation starts; variants share it.

    Writes models/D/warmup/S/M.safetensors.
    """
    _stage("warmup", dataset=dataset, method=method, seed=seed)


@app.command()
def prototypes(dataset: DatasetOption, method: MethodOption, seed: SeedOption) -> None:
    """Fit AIM's prototypes and decoupling on the frozen warm-up. Writes models/D/prototypes/S/M.safetensors."""
    _stage("prototypes", dataset=dataset, method=method, seed=seed)


@app.command()
def train(dataset: DatasetOption, method: MethodOption, seed: SeedOption) -> None:
    """Train one method with one seed. Writes weights and curves to models/D/M/S/."""
    _stage("train", dataset=dataset, method=method, seed=seed)


@app.command()
def tune(dataset: DatasetOption, method: MethodOption) -> None:
    """Try settings of a method on validation, as `tuning` says. Writes results/tuning/D_M.json."""
    _stage("tune", dataset=dataset, method=method)


@app.command()
def evaluate(dataset: DatasetOption, method: MethodOption, seed: SeedOption) -> None:
    """Measure one trained model. Writes models/D/M/S/evaluation.json."""
    _stage("evaluate", dataset=dataset, method=method, seed=seed)


@app.command()
def operations(dataset: DatasetOption, method: MethodOption) -> None:
    """Count the operations of a method's training step. Writes models/D/M/operations.json."""
    _stage("operations", dataset=dataset, method=method)


@app.command()
def summary(
    dataset: DatasetOption,
    method: MethodOption,
    seeds: Annotated[str | None, typer.Option(help="such as 0,1,2; study.seeds when not given")] = None,
) -> None:
    """Mean, spread and interval over seeds. Writes results/D_M.json."""
    _stage("summary", dataset=dataset, method=method, seeds=_seeds(seeds))


@app.command()
def figures(dataset: DatasetOption, method: MethodOption) -> None:
    """Draw a result's figures. Writes results/figures/D_M/."""
    _stage("figures", dataset=dataset, method=method)


@app.command()
def overview(dataset: DatasetOption) -> None:
    """Put the study's results on a dataset side by side, for the report. Writes results/tables/D.html and .md."""
    _stage("overview", dataset=dataset)


@app.command()
def reference(dataset: DatasetOption) -> None:
    """Measure joint training alone, which every method's cost refers to. Writes results/cost/reference/D.json."""
    _stage("reference", dataset=dataset)


@app.command()
def cost(dataset: DatasetOption, method: MethodOption) -> None:
    """Measure what training a method costs beside joint training: a step, and the whole run. Writes
    results/cost/D_M.json.
    """
    _stage("cost", dataset=dataset, method=method)


@app.command()
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
        _call("tables", table=table, files=files or None, out=out, methods=shown)
    else:
        _stage("tables", table=table)


@app.command()
def paper(study: Annotated[str, typer.Option("--study", help="a name of `studies` in params.yaml")]) -> None:
    """Draw a table or a figure of `studies`. Writes results/paper/STUDY.*."""
    _stage("paper", study=study)


@app.command("study")
def study_section(name: Annotated[str, typer.Argument(help="a name of `studies` in params.yaml")]) -> None:
    """Print a section `study` for params.yaml with which plain `snakemake` and `dvc repro` build one of `studies`."""
    from equimodal.params.studies import study_section as section

    typer.echo(section(load_params(), name), nl=False)


@app.command()
def plan() -> None:
    """Write what sets each stage of the study (code and settings) to data/plan/, for DVC."""
    _stage("plan")


@app.command()
def verify(dataset: Annotated[str, typer.Argument(help="a name of `datasets`")]) -> None:
    """Check a dataset's raw files against known sizes and checksums; list what is missing or unreadable."""
    _call("verify", dataset=dataset)


@app.command()
def track() -> None:
    """Rebuild all MLflow runs from the files at hand."""
    _call("track")


@app.command()
def show(results: Annotated[list[Path], typer.Argument(help="result files, such as results/cremad_aim.json")]) -> None:
    """Print results side by side."""
    _call("show", results=results)


@app.command()
def schema(
    path: Annotated[Path, typer.Argument(help="where to write it")] = Path("workflow/schemas/params.schema.json"),
) -> None:
    """Write the JSON schema of params.yaml, which editors use for completion."""
    from equimodal.params.schema import params_schema
    from equimodal.store import write_json

    write_json(path, params_schema())


@app.command()
def explain(key: Annotated[str, typer.Argument(help="such as training.optimizer.lr or methods.aim.tau")]) -> None:
    """Tell what a key of params.yaml means, its type, its default and its value now."""
    from equimodal.params.explain import explain as explained

    typer.echo(explained(load_params(), key))


def _stage(stage: str, **axes: Any) -> None:
    """Run one stage: one run of it at a time, one engine at a time."""
    # A further process of a DDP training, whose first process holds the locks
    if os.environ.get("LOCAL_RANK", "0") != "0":
        _call(stage, **axes)
        return
    if locks.current_engine() == "dvc":
        experiments.refuse_copy()
    key = "-".join([stage, *(str(value) for name, value in axes.items() if name != "seeds")])
    with locks.engine(locks.current_engine()), locks.stage(key):
        _call(stage, **axes)


def _call(stage: str, **axes: Any) -> None:
    """`stages.<stage>.run` with params.yaml and the axes, with CPU threads as params.yaml says."""
    params = load_params()
    if "dataset" in axes:
        params.dataset(axes["dataset"])
    if "method" in axes:
        params.check_pair(axes["dataset"], axes["method"])
    if stage in FROM_MANIFEST and not (path := manifest_path(axes["dataset"])).is_file():
        # The stage would say so itself, after the seconds that torch takes to import.
        raise UserError(f"{path} is missing: build it first (snakemake --cores 4 -- {path})")
    if axes.get("seeds", ...) is None:
        axes["seeds"] = list(params.study.seeds)
    # Both must be set before torch is imported: threads that wait busily slow down whatever else runs
    # by a factor of 20.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ["OMP_NUM_THREADS"] = str(params.runtime.threads)
    from equimodal.tracking import clock  # not at the top: numpy comes with it

    with clock.command():
        import_module(f"equimodal.stages.{stage}").run(params, **axes)


def _seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: give whole numbers with commas between them, such as 0,1,2") from None
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UserError(f"--seeds {text}: seeds are different numbers from 0 up")
    return seeds


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Entry point: a UserError is one line and status 2; an interruption one line and 130 or 143; anything else is a
    defect and shows itself.
    """
    signal.signal(signal.SIGTERM, _terminated)
    try:
        status = app(standalone_mode=False)
    except UserError as error:
        _quit(f"error: {error}", 2)
    except (typer.Abort, KeyboardInterrupt):
        status = 130
    except SystemExit as stop:
        if stop.code == 128 + signal.SIGTERM:
            _quit("terminated: finished epochs are kept, the same command goes on from there", 143)
        raise
    except OSError as error:
        from equimodal.store import disk_error

        known = disk_error(error, Path(error.filename or "a file"))
        if not isinstance(known, UserError):
            raise
        _quit(f"error: {known}", 2)
    except Exception as error:
        # Without standalone mode the parser raises its complaints (an unknown option, ...) instead of printing them.
        if not hasattr(error, "show") or not hasattr(error, "exit_code"):
            raise
        error.show()
        sys.exit(error.exit_code)
    if status == 130:  # the parser turns the interruption into this status
        _quit("interrupted: finished epochs are kept, the same command goes on from there", 130)
    sys.exit(status or 0)


def _quit(line: str, status: int) -> None:
    print(line, file=sys.stderr)
    sys.exit(status)
