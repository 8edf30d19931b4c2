"""MLflow's registry: a trained model under a name and an alias, by which others ask for it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from equimodal.errors import UserError
from equimodal.tracking.models import Models
from equimodal.tracking.rebuild import rebuild
from equimodal.tracking.runs import Runs

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Registered:
    """A version of a registered model; `accuracy` on the validation split, None where nothing measured it."""

    name: str
    version: str
    alias: str
    seed: int
    accuracy: float | None

    @property
    def uri(self) -> str:
        """What mlflow loads and serves it by."""
        return f"models:/{self.name}@{self.alias}"


def register(uri: str, dataset: str, method: str, seed: int | None, alias: str, root: Path = Path()) -> Registered:
    """Put an alias on one training's model in the registry as DATASET-METHOD. A model that has a version keeps it.

    Args:
        seed: None for the one with the best validation accuracy.
        root: what is not in the store yet is published from the files below.

    Raises:
        UserError: there is no such model, or the alias is none that MLflow takes.
        RuntimeError, mlflow.exceptions.MlflowException: the store cannot be opened or written.
    """
    _, problems = rebuild(uri, root, only=(dataset, method))
    runs = Runs(uri)
    model = _chosen(Models(runs), runs, dataset, method, seed, problems)
    name, client = f"{dataset}-{method}", runs.client
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, {"dataset": dataset, "method": method})
    version = _version(runs, name, model)
    _alias(runs, name, alias, version)
    return Registered(name, str(version.version), alias, int(model.tags["seed"]), _accuracy(model))


def _chosen(
    models: Models, runs: Runs, dataset: str, method: str, seed: int | None, problems: list[str]
) -> "LoggedModel":
    experiment = runs.client.get_experiment_by_name(dataset)
    place = {"method": method, "current": "true", **({} if seed is None else {"seed": str(seed)})}
    found = [] if experiment is None else models.find(experiment.experiment_id, **place)
    ready = [model for model in found if str(model.status) == "READY"]
    if not ready:
        which = f"{method} on {dataset}" + ("" if seed is None else f", seed {seed}")
        weights = f"models/{dataset}/{method}/{0 if seed is None else seed}/val.safetensors"
        why = "; ".join(problems) or f"train it first (snakemake --cores 4 -- {weights})"
        raise UserError(f"no trained model of {which}: {why}")
    # Of equal ones the first seed, so that the choice does not depend on the store.
    return max(ready, key=lambda model: (_accuracy(model) or 0.0, -int(model.tags["seed"])))


def _accuracy(model: "LoggedModel") -> float | None:
    """On the validation split, as last measured."""
    measured = [metric for metric in model.metrics or [] if metric.key == "val/accuracy"]
    return max(measured, key=lambda metric: metric.timestamp).value if measured else None


def _version(runs: Runs, name: str, model: "LoggedModel") -> "ModelVersion":
    """The version that is this model, made if there is none."""
    for version in runs.client.search_model_versions(f"name = '{name}'"):
        if version.source == model.artifact_location:  # mlflow's own databases do not keep a version's model_id
            return version
    # By its place and its run, not as models:/ID: for that, mlflow would ask the store of its global address.
    version = runs.client.create_model_version(
        name,
        model.artifact_location,
        model.source_run_id,
        tags={key: model.tags[key] for key in ("dataset", "method", "seed", "source", "key")},
        description=model.tags["mlflow.note.content"],
        model_id=model.model_id,
    )
    versions = json.dumps([{"name": name, "version": version.version}])
    runs.client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": versions})  # its page links to them
    return version


def _alias(runs: Runs, name: str, alias: str, version: "ModelVersion") -> None:
    from mlflow.exceptions import MlflowException

    try:
        runs.client.set_registered_model_alias(name, alias, str(version.version))
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise UserError(f"--alias '{alias}' is none that MLflow takes: {' '.join(str(error).split())}") from None
