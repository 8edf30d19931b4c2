"""Runs in MLflow's store, addressed by the tag `key`:
the same key is the same run, whoever writes it and however often.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from equimodal.tracking import clock
from equimodal.tracking.database import locked, prepare
from equimodal.tracking.info import RunInfo
from equimodal.tracking.provenance import provenance

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.entities import Run as StoredRun

Point = tuple[int, Mapping[str, float], int]  # step, metrics, milliseconds since 1970

PARENT = "mlflow.parentRunId"
CLOCKED = ("time/", "system/")  # what no two runs of one key have alike
BATCH_METRICS = 1000  # MLflow's limits of one log_batch
BATCH_PARAMS = 100


class Runs:
    """The store at a tracking address.

    Raises:
        RuntimeError, mlflow.exceptions.MlflowException: it cannot be opened.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        with locked(uri):
            prepare(uri)
        from mlflow import MlflowClient  # after the quick checks, and outside the lock: it takes seconds

        with locked(uri):
            self.client = MlflowClient(tracking_uri=uri)
            self.client.search_experiments(max_results=1)  # opens the store while no other process can

    def open(self, info: RunInfo, started: int | None = None, rebuilt: bool = False) -> "Run":
        """The run of `info.key`, made if absent, below its result's run.

        Args:
            started: when its stage began, in milliseconds; now if None. A run that is there keeps its start.
            rebuilt: it is made from files, not live.
        """
        started = clock.now() if started is None else started
        with locked(self.uri):
            experiment = self._experiment(info.dataset)
            tags = info.tags() | {"current": "true"}
            if info.stage != "result":
                parent = self.find(info.parent()) or self._create(
                    experiment, info.parent(), info.parent().tags(), started
                )
                tags[PARENT] = parent.info.run_id
            stored = self.find(info)
            if stored is None:
                stored = self._create(experiment, info, tags | {"rebuilt": str(rebuilt).lower()}, started)
            run = Run(self, info, stored, started)
            run.update(tags)
            self._retire(experiment, info)
            return run

    def find(self, info: RunInfo) -> "StoredRun | None":
        """The run that has `info.key`, if any."""
        experiment = self.client.get_experiment_by_name(info.dataset)
        if experiment is None:
            return None
        return next(iter(self.search(experiment.experiment_id, {"key": info.key, "stage": info.stage})), None)

    def search(self, experiment: str, tags: Mapping[str, str]) -> "list[StoredRun]":
        """All runs of an experiment that have these tags."""
        condition = " AND ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        return list(self.client.search_runs([experiment], filter_string=condition, max_results=1000))

    def create(self, like: "StoredRun", started: int) -> "StoredRun":
        """An empty run with the tags and parameters of another."""
        tags = {name: value for name, value in like.data.tags.items() if name != "content"}  # it holds nothing yet
        stored = self.client.create_run(
            like.info.experiment_id,
            start_time=started,
            tags=tags,
            run_name=like.info.run_name,
        )
        self.log_params(stored.info.run_id, like.data.params)
        return self.client.get_run(stored.info.run_id)

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Parameters in batches that MLflow takes."""
        from mlflow.entities import Param

        rows = [Param(_allowed(key), value) for key, value in params.items()]
        for first in range(0, len(rows), BATCH_PARAMS):
            self.client.log_batch(run_id, params=rows[first : first + BATCH_PARAMS])

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return self.client.create_experiment(name)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def _create(self, experiment: str, info: RunInfo, tags: Mapping[str, str], started: int) -> "StoredRun":
        from mlflow.entities import Dataset, DatasetInput

        stored = self.client.create_run(experiment, start_time=started, tags=dict(tags), run_name=info.name)
        self.log_params(stored.info.run_id, info.parameters())
        if info.data_digest is not None:
            data = Dataset(
                name=info.dataset,
                digest=info.data_digest[:36],
                source_type=info.source,
                source=f"data/{info.dataset}/manifest.json",
            )
            self.client.log_inputs(stored.info.run_id, [DatasetInput(data)])
        return self.client.get_run(stored.info.run_id)

    def _retire(self, experiment: str, info: RunInfo) -> None:
        """Runs of the same place under older settings stay, tagged `current` = false."""
        place = {name: value for name, value in info.tags().items() if name in ("result", "seed", "stage")}
        for other in self.search(experiment, place | {"current": "true"}):
            if other.data.tags.get("key") != info.key:
                self.client.set_tag(other.info.run_id, "current", "false")


class Run:
    """One run that can be written again without doubling what it holds."""

    def __init__(self, runs: Runs, info: RunInfo, stored: "StoredRun", started: int) -> None:
        self._runs = runs
        self._started = started
        self._client = runs.client
        self.info = info
        self.stored = stored
        self._known = self._history()

    @property
    def run_id(self) -> str:
        """MLflow's id."""
        return self.stored.info.run_id

    @property
    def experiment(self) -> str:
        """MLflow's id of its experiment."""
        return self.stored.info.experiment_id

    @property
    def models(self) -> set[str]:
        """Ids of the logged models that it gave."""
        outputs = self._client.get_run(self.run_id).outputs
        return set() if outputs is None else {output.model_id for output in outputs.model_outputs}

    def gave(self, model: str, step: int) -> None:
        """Say that a logged model came of it, at a step."""
        from mlflow.entities import LoggedModelOutput

        self._client.log_outputs(self.run_id, [LoggedModelOutput(model, step)])

    def history(self, name: str) -> "list[Metric]":
        """All values of a metric."""
        return list(self._client.get_metric_history(self.run_id, name))

    def update(self, tags: Mapping[str, str]) -> None:
        """Bring tags and parameters up to date;
        where this code comes from is only said of a run that does not say it yet.
        """
        params = {_allowed(key): value for key, value in self.info.parameters().items()}
        known = self.stored.data.params
        if any(known.get(key, value) != value for key, value in params.items()):
            self._replace(keep_before=0, params=params)  # MLflow never changes a parameter
        elif missing := {key: value for key, value in params.items() if key not in known}:
            self._runs.log_params(self.run_id, missing)
        if "versions.mlflow" not in self.stored.data.tags:
            tags = {**provenance(), **tags}
        self.tag({name: value for name, value in tags.items() if self.stored.data.tags.get(name) != value})
        self._client.log_dict(self.run_id, dict(self.info.settings), "settings.json")

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags in one request."""
        from mlflow.entities import RunTag

        if tags:
            self._client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def log(self, points: Iterable[Point]) -> None:
        """Log metrics by step. Points that the run has are skipped;
        a run that has other values at a step gives way to a new one.

        MLflow cannot delete a metric, so the second case (same key, other numbers: another machine) moves the old run
        to MLflow's bin.
        """
        points = sorted(points, key=lambda point: point[0])
        for step, metrics, _ in points:
            known = (
                (name, self._known.get((_allowed(name), step))) for name in metrics if not name.startswith(CLOCKED)
            )
            if any(old is not None and old != metrics[name] for name, old in known):
                self._replace(keep_before=step)
                break
        rows = [
            (_allowed(name), value, stamp, step) for step, metrics, stamp in points for name, value in metrics.items()
        ]
        self._write([row for row in rows if (row[0], row[3]) not in self._known])

    def artifact(self, path: Path, folder: str = "") -> None:
        """Copy a file into the run; the same name is overwritten."""
        self._client.log_artifact(self.run_id, str(path), folder or None)

    def running(self) -> None:
        """Mark a run that was broken off as running again. A finished one gives way to a new one: MLflow cannot change
        a start.
        """
        if self.stored.info.status == "FINISHED":
            self._replace(keep_before=0)
        elif self.stored.info.status != "RUNNING":
            self._client.update_run(self.run_id, status="RUNNING")

    def end(self, status: str, ended: int | None = None) -> None:
        """Mark the run FINISHED, FAILED or KILLED; `ended` in milliseconds, now if None, and never before its start (of
        a run that another stage opened, or on a clock that was set back).
        """
        ended = max(clock.now() if ended is None else ended, self.stored.info.start_time + 1)
        self._client.set_terminated(self.run_id, status, ended)

    def _write(self, rows: list[tuple[str, float, int, int]]) -> None:
        from mlflow.entities import Metric

        for first in range(0, len(rows), BATCH_METRICS):
            batch = rows[first : first + BATCH_METRICS]
            self._client.log_batch(self.run_id, metrics=[Metric(*row) for row in batch])
            self._known |= {(name, step): value for name, value, _, step in batch}

    def _history(self) -> dict[tuple[str, int], float]:
        """(metric, step) -> value, of what the run has."""
        names = self.stored.data.metrics
        return {
            (name, metric.step): metric.value
            for name in names
            for metric in self._client.get_metric_history(self.run_id, name)
        }

    def _replace(self, keep_before: int, params: Mapping[str, str] | None = None) -> None:
        """Move on to a new run with the same identity and the history before a step; its children follow."""
        with locked(self._runs.uri):
            old = self.stored
            names = sorted({name for name, _ in self._known})
            kept = [
                (name, m.value, m.timestamp, m.step)
                for name in names
                for m in self._client.get_metric_history(old.info.run_id, name)
            ]
            if params is not None:
                old.data.params.clear()
                old.data.params.update(params)
            self.stored = self._runs.create(old, self._started)
            self._client.delete_run(old.info.run_id)
            for child in self._runs.search(old.info.experiment_id, {PARENT: old.info.run_id}):
                self._client.set_tag(child.info.run_id, PARENT, self.run_id)
        self._known = {}
        self._write([row for row in kept if row[3] < keep_before])
        self._client.log_dict(self.run_id, dict(self.info.settings), "settings.json")


def _allowed(name: str) -> str:
    """MLflow takes letters, digits, and these marks: `s~` becomes `s_aux`, as the auxiliary blocks' score."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("~", "_aux"))
