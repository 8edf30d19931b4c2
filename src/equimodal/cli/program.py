"""The program, and how a command runs a stage."""

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer

from equimodal.engines import experiments, locks
from equimodal.engines.layout import manifest_path
from equimodal.errors import UserError
from equimodal.params import Params, load_params

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"equimodal {version('equimodal')}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Balanced multimodal learning as a cached workflow."""


# The stages that import torch to read a dataset as its manifest describes it.
FROM_MANIFEST = ("warmup", "prototypes", "train", "tune", "evaluate", "operations", "reference", "cost")


def run_stage(stage: str, **axes: Any) -> None:
    """Run one stage: one run of it at a time, one engine at a time."""
    # A further process of a DDP training, whose first process holds the locks
    if os.environ.get("LOCAL_RANK", "0") != "0":
        call(stage, **axes)
        return
    if locks.current_engine() == "dvc":
        experiments.refuse_copy()
    key = "-".join([stage, *(str(value) for name, value in axes.items() if name != "seeds")])
    with locks.engine(locks.current_engine()), locks.stage(key):
        call(stage, **axes)


def read_params(dataset: str | None = None) -> Params:
    """params.yaml, for a command that concerns `dataset`; what is wrong with another one is a warning."""
    params = load_params()
    if dataset is not None:
        params.dataset(dataset)
    for name, why in params.broken.items():
        print(f"warning: dataset {name} is left out: {why}", file=sys.stderr)
    return params


def call(stage: str, **axes: Any) -> None:
    """`stages.<stage>.run` with params.yaml and the axes, with CPU threads as params.yaml says."""
    params = read_params(axes.get("dataset"))
    if "method" in axes:
        params.check_pair(axes["dataset"], axes["method"])
    if stage in FROM_MANIFEST and not (path := manifest_path(axes["dataset"])).is_file():
        # The stage would say so itself, after the seconds that torch takes to import.
        raise UserError(f"{path} is missing: build it first (snakemake --cores 4 -- {path})")
    if axes.get("seeds", ...) is None:
        axes["seeds"] = list(params.study.seeds)
    set_threads(params.runtime.threads)
    from equimodal.tracking import clock  # not at the top: numpy comes with it

    with clock.command():
        import_module(f"equimodal.stages.{stage}").run(params, **axes)


def set_threads(count: int) -> None:
    """How many CPU threads torch shall use; to be called before it is imported."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait busily slow down whatever else runs by a factor of 20
