"""One subcommand per stage, as the engines call them."""

from functools import partial
from typing import Annotated

import typer

from equimodal.cli.program import app, run_stage
from equimodal.errors import UserError
from equimodal.params import load_params
from equimodal.settings.training import SEEDS

command = partial(app.command, rich_help_panel="Stages, which Snakemake and DVC run")

DatasetOption = Annotated[str, typer.Option("--dataset", help="a name of `datasets` in params.yaml")]
MethodOption = Annotated[str, typer.Option("--method", help="a name of `methods` in params.yaml")]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=SEEDS - 1, help="seed of initialisation, order and augmentation")
]


@command()
def raw(dataset: DatasetOption) -> None:
    """Get the raw files: generate the sample, check your copy, or download. Writes data/D/raw/manifest.json."""
    run_stage("raw", dataset=dataset)


@command()
def index(dataset: DatasetOption) -> None:
    """List the samples with label, group and split. Writes data/D/index.json."""
    run_stage("index", dataset=dataset)


@command()
def features(
    dataset: DatasetOption,
    modality: Annotated[str | None, typer.Option(help="one modality; all of the dataset's when not given")] = None,
) -> None:
    """Read clips into arrays. Writes data/D/features/MODALITY.npy and .json."""
    names = list(load_params().dataset(dataset).modalities)
    if modality is not None and modality not in names:
        raise UserError(f"unknown modality '{modality}'; {dataset} has: {', '.join(names)}")
    for name in names if modality is None else [modality]:
        run_stage("features", dataset=dataset, modality=name)


@command()
def manifest(dataset: DatasetOption) -> None:
    """Join the features of a dataset, leave out what was rejected. Writes data/D/manifest.json."""
    run_stage("manifest", dataset=dataset)


@command()
def weights(dataset: DatasetOption) -> None:
    """Check and convert the weights that encoders start from (model.weights). Writes data/D/weights.safetensors, empty
    where there are none.
    """
    run_stage("weights", dataset=dataset)


@command()
def unimodal(dataset: DatasetOption, method: MethodOption, seed: SeedOption) -> None:
    """Hand a trained model of one modality to methods that start from such. Writes
    models/D/unimodal/S/M.safetensors.
    """
    run_stage("unimodal", dataset=dataset, method=method, seed=seed)


@command()
def warmup(dataset: DatasetOption, method: MethodOption, seed: SeedOption) -> None:
    """Train jointly up to the epoch where modulation starts; variants share it.

    Writes models/D/warmup/S/M.safetensors.
    """
    run_stage("warmup", dataset=dataset, method=method, seed=seed)


@command()
def prototypes(dataset: DatasetOption, method: MethodOption, seed: SeedOption) -> None:
    """Fit AIM's prototypes and decoupling on the frozen warm-up. Writes models/D/prototypes/S/M.safetensors."""
    run_stage("prototypes", dataset=dataset, method=method, seed=seed)


@command()
def train(dataset: DatasetOption, method: MethodOption, seed: SeedOption) -> None:
    """Train one method with one seed. Writes weights and curves to models/D/M/S/."""
    run_stage("train", dataset=dataset, method=method, seed=seed)


@command()
def tune(dataset: DatasetOption, method: MethodOption) -> None:
    """Try settings of a method on validation, as `tuning` says. Writes results/tuning/D_M.json."""
    run_stage("tune", dataset=dataset, method=method)


@command()
def evaluate(dataset: DatasetOption, method: MethodOption, seed: SeedOption) -> None:
    """Measure one trained model. Writes models/D/M/S/{evaluation.json,predictions.parquet}."""
    run_stage("evaluate", dataset=dataset, method=method, seed=seed)


@command()
def operations(dataset: DatasetOption, method: MethodOption) -> None:
    """Count the operations of a method's training step. Writes models/D/M/operations.json."""
    run_stage("operations", dataset=dataset, method=method)


@command()
def summary(
    dataset: DatasetOption,
    method: MethodOption,
    seeds: Annotated[str | None, typer.Option(help="such as 0,1,2; study.seeds when not given")] = None,
) -> None:
    """Mean, spread and interval over seeds. Writes results/D_M.json."""
    run_stage("summary", dataset=dataset, method=method, seeds=seeds_of(seeds))


@command()
def figures(dataset: DatasetOption, method: MethodOption) -> None:
    """Draw a result's figures. Writes results/figures/D_M/."""
    run_stage("figures", dataset=dataset, method=method)


@command()
def overview(dataset: DatasetOption) -> None:
    """Put the study's results on a dataset side by side, for the report. Writes results/tables/D.html and .md."""
    run_stage("overview", dataset=dataset)


@command()
def reference(dataset: DatasetOption) -> None:
    """Measure joint training alone, which every method's cost refers to. Writes results/cost/reference/D.json."""
    run_stage("reference", dataset=dataset)


@command()
def cost(dataset: DatasetOption, method: MethodOption) -> None:
    """Measure what training a method costs beside joint training: a step, and the whole run. Writes
    results/cost/D_M.json.
    """
    run_stage("cost", dataset=dataset, method=method)


@command()
def paper(study: Annotated[str, typer.Option("--study", help="a name of `studies` in params.yaml")]) -> None:
    """Draw a table or a figure of `studies`. Writes results/paper/STUDY.*."""
    run_stage("paper", study=study)


@command()
def plan() -> None:
    """Write what sets each stage of the study (code and settings) to data/plan/, for DVC."""
    run_stage("plan")


def seeds_of(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: give whole numbers with commas between them, such as 0,1,2") from None
    if len(set(seeds)) != len(seeds) or min(seeds) < 0 or max(seeds) >= SEEDS:
        raise UserError(f"--seeds {text}: seeds are different numbers from 0 to {SEEDS - 1}")
    return seeds
