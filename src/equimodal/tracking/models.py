"""Trained models in MLflow: a LoggedModel for each training, addressed as its run is, by the training's content key."""

import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.inference.description import Description
from equimodal.inference.signature import answered, asked, example
from equimodal.store import file_sha256
from equimodal.tracking.database import locked
from equimodal.tracking.files import Weights, header
from equimodal.tracking.runs import Run, Runs

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

LOADER = "equimodal.inference.served"
# What a server of a model must have; equimodal brings the rest. Without a list mlflow would load the model in a further
# process, to see what it imports.
REQUIRED = ("equimodal", "torch", "mlflow")


class Models:
    """The logged models of a store."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._client = runs.client

    def log(self, run: Run, weights: Weights) -> None:
        """Log a training's model below its run, with the validation measures of its epoch, unless it is there. Other
        weights under the same key (another machine) take its place.

        Weights of an older version, which do not say how they are used, are left out.

        Raises:
            UserError: the file is damaged, or holds no model.
        """
        meta = header(weights.path)
        if "about" not in meta:
            return
        about = Description.of_file(meta, weights.path)
        digest = file_sha256(weights.path)
        with locked(self._runs.uri):
            model = self._same(run, digest) or self._create(run, about, digest)
            if model.tags.get("current") != "true":  # settings that came back
                self._client.set_logged_model_tags(model.model_id, {"current": "true"})
            self._retire(run)
        if str(model.status) != "READY":
            self._upload(model, run, about, weights.path)
        if model.model_id not in run.models:
            run.gave(model.model_id, weights.epoch)
        self.measured(model, run, weights.epoch, ("val/accuracy", "val/macro_f1", "val/mae"))

    def measured(self, model: "LoggedModel", run: Run, step: int, names: Iterable[str]) -> None:
        """Link what a run measured of a model at a step to the model. MLflow drops a point that it has."""
        from mlflow.entities import Metric

        rows = [
            Metric(point.key, point.value, point.timestamp, point.step, model.model_id)
            for name in names
            for point in run.history(name)
            if point.step == step
        ]
        if rows:
            self._client.log_batch(run.run_id, metrics=rows)

    def find(self, experiment: str, **tags: str) -> "list[LoggedModel]":
        """The models of an experiment that have these tags."""
        condition = " AND ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        return list(self._client.search_logged_models([experiment], filter_string=condition, max_results=1000))

    def _same(self, run: Run, digest: str) -> "LoggedModel | None":
        """The model of the run's training, if it holds this file."""
        kept = None
        for model in self.find(run.experiment, key=run.info.key):
            if model.tags.get("file") == digest:
                kept = model
            else:
                self._client.delete_logged_model(model.model_id)
        return kept

    def _create(self, run: Run, about: Description, digest: str) -> "LoggedModel":
        info = run.info
        names = ("dataset", "source", "method", "seed", "key", "result", "data_digest")
        tags = {name: value for name, value in info.tags().items() if name in names}
        return self._client.create_logged_model(
            run.experiment,
            name=f"{info.method}-{info.seed}",
            source_run_id=run.run_id,
            tags={**tags, "file": digest, "current": "true", "mlflow.note.content": info.description},
            params=info.parameters(),
            model_type=about.task,
        )

    def _retire(self, run: Run) -> None:
        """Models of the same place under older settings stay, tagged `current` = false."""
        place = {"result": run.info.result, "seed": str(run.info.seed), "current": "true"}
        for other in self.find(run.experiment, **place):
            if other.tags.get("key") != run.info.key:
                self._client.set_logged_model_tags(other.model_id, {"current": "false"})

    def _upload(self, model: "LoggedModel", run: Run, about: Description, path: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            place = {"artifact_path": model.artifact_location, "run_id": run.run_id}
            write(folder, about, path, **place, model_id=model.model_id, model_uuid=model.model_id)
            self._client.log_model_artifacts(model.model_id, str(folder))
        self._client.finalize_logged_model(model.model_id, "READY")


def write(folder: Path, about: Description, weights: Path, **identity: Any) -> None:
    """Write the folder that `mlflow models serve` reads, around a copy of the weights.

    Args:
        identity: of the logged model, as mlflow's `Model` takes it.
    """
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature

    pyfunc.save_model(
        folder,
        loader_module=LOADER,
        data_path=str(weights),
        mlflow_model=Model(**identity),
        signature=ModelSignature(_schema(asked(about), required=False), _schema(answered(about))),
        input_example=pd.DataFrame([example(about)]),
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIRED],  # +cpu is no release
        metadata={"dataset": about.dataset, "source": about.source, "method": about.method},
    )


def _schema(columns: dict[str, str], required: bool = True) -> Any:
    from mlflow.types import ColSpec, Schema

    return Schema([ColSpec(kind, name, required=required) for name, kind in columns.items()])
