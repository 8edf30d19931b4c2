"""MLflow for real: one database, made by three processes at once, then killed into, rebuilt,
deleted and rebuilt again.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equimodal.params import Params
from equimodal.settings.training import TrackingSettings
from equimodal.stages import track
from equimodal.store import read_json, write_json
from equimodal.tracking import RunInfo, Tracker, clock

LIVE = (("aim", 0), ("aim", 1))
KILLED = """
import os, signal
from equimodal.params import Params
from equimodal.settings.training import TrackingSettings
from equimodal.tracking import RunInfo, Tracker
params = Params.model_construct(tracking=TrackingSettings(uri="sqlite:///mlflow.db"))
tracker = Tracker.start(params, RunInfo("toy", "joint", "train", "will be killed", "sample", 7))
tracker.epoch(0, {"train/loss": 3.0})
print("logged", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def params() -> Params:
    return Params.model_construct(tracking=TrackingSettings(uri="sqlite:///mlflow.db"))


@pytest.fixture(scope="module")
def study(
    params: Params,
    tmp_path_factory: pytest.TempPathFactory,
    write_study: Callable[[Path], None],
    write_warmup: Callable[[Path], None],
) -> Path:
    """A folder with a study of which two trainings, and one that was killed, were tracked live, all three at once on a
    fresh database.
    """
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    write_warmup(folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        killed = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
        trackers = []
        for method, seed in LIVE:
            content = read_json(folder / "models" / "toy" / method / str(seed) / "curves.json")
            tracker = Tracker.start(params, RunInfo.from_meta({**content["meta"], "device": "cpu"}))
            for row in content["epochs"]:
                tracker.epoch(row["epoch"], row["metrics"], seconds=1.5)
            tracker.end()
            trackers.append(tracker)
        for tracker in trackers:
            tracker.close(120)
        assert killed.communicate()[0] == "logged\n" and killed.returncode == -signal.SIGKILL
    finally:
        os.chdir(before)
    return folder


def runs_of(folder: Path) -> dict[str, Any]:
    """Name -> run, of all that are not in the bin; a name twice fails."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {run.info.run_name: run for run in runs}


def histories(folder: Path) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """(run name, metric) -> [(step, value)]."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return {
        (name, metric): sorted(
            (point.step, point.value) for point in client.get_metric_history(run.info.run_id, metric)
        )
        for name, run in runs_of(folder).items()
        for metric in run.data.metrics
        if not metric.startswith(("time/", "system/"))
    }


def test_three_processes_at_once_on_a_fresh_database(study: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = runs_of(study)
    assert len(runs) == 5  # two parents, three children
    for method, seed in LIVE:
        run = runs[f"train {seed} {method} (sample)"]
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == runs[f"{method} (sample)"].info.run_id
        assert (
            run.data.tags.items()
            >= {
                "dataset": "toy",
                "source": "sample",
                "method": method,
                "seed": str(seed),
                "stage": "train",
                "device": "cpu",
            }.items()
        )
        assert {"key", "data_digest", "versions.torch", "versions.mlflow", "versions.equimodal"} <= run.data.tags.keys()
        assert run.data.metrics["system/memory_usage_megabytes"] > 1
        assert run.data.tags["mlflow.source.name"] == "equimodal train"
        assert run.data.tags["mlflow.note.content"].startswith(f"{method} on toy, seed {seed}: stage train.")
        assert run.data.params["training.optimizer.lr"] == "0.1" and run.data.metrics["time/epoch_seconds"] == 1.5
    assert histories(study)["train 0 aim (sample)", "val/accuracy"] == [(0, 0.5), (1, 0.6)]
    assert capfd.readouterr().err == ""


def test_a_killed_stage_leaves_a_killed_run_with_what_it_had(study: Path) -> None:
    end = time.monotonic() + 60
    while (run := runs_of(study).get("train 7 joint (sample)")) is None or run.info.status == "RUNNING":
        assert time.monotonic() < end
        time.sleep(0.3)
    assert run.info.status == "KILLED" and histories(study)[run.info.run_name, "train/loss"] == [(0, 3.0)]


def test_track_adds_what_was_not_live_and_doubles_nothing(
    study: Path, params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(study)
    before = {name: run.info.run_id for name, run in runs_of(study).items()}
    live = histories(study)
    track.run(params)
    runs = runs_of(study)
    # the killed one; a parent and two stages of two seeds for each method; warm-up and prototypes
    assert len(runs) == 1 + 2 * (1 + 2 * 2) + 2
    assert all(runs[name].info.run_id == run_id for name, run_id in before.items())
    assert histories(study).items() >= live.items()
    parent = runs["aim (sample)"]
    means = {"accuracy": 0.65, "z/selection.val/accuracy/mean": 0.65, "z/selection.val/accuracy/std": 0.05}
    assert parent.data.metrics == means and parent.info.status == "FINISHED"
    assert runs["joint (sample)"].data.params.keys() == parent.data.params.keys()
    full = histories(study)
    track.run(params)
    assert capsys.readouterr().out.splitlines()[-1].endswith("0 runs added, 0 updated, 12 unchanged")
    assert histories(study) == full and runs_of(study).keys() == runs.keys()


def test_every_run_starts_before_it_ends(study: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages of this study took milliseconds, less than their child needs to import mlflow."""
    monkeypatch.chdir(study)
    track.run(params)
    for name, run in runs_of(study).items():
        assert run.info.end_time is not None and 0 < run.info.end_time - run.info.start_time < 600_000, name


def test_a_finished_stage_that_runs_again_has_its_new_times(
    study: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study)
    track.run(params)
    name = "train 1 joint (sample)"
    before, started = histories(study), clock.now() - 5000
    content = read_json(study / "models" / "toy" / "joint" / "1" / "curves.json")
    tracker = Tracker.start(params, RunInfo.from_meta({**content["meta"], "device": "cpu"}), started)
    for row in content["epochs"]:
        tracker.epoch(row["epoch"], row["metrics"])
    tracker.end()
    tracker.close(120)
    run = runs_of(study)[name]
    assert run.info.start_time == started < run.info.end_time and run.info.status == "FINISHED"
    track.run(params)  # the new run has no file attached yet
    run = runs_of(study)[name]
    assert run.info.start_time == started and histories(study) == before
    from mlflow import MlflowClient

    attached = MlflowClient("sqlite:///mlflow.db").list_artifacts(run.info.run_id)
    assert {file.path for file in attached} == {"curves.json", "settings.json"}


def test_deleting_the_database_loses_nothing(study: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    track.run(params)
    full = histories(study)
    # Emptied, not unlinked: this process holds the file open. That an absent one is made anew is seen above.
    with sqlite3.connect("mlflow.db") as database:
        for (table,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'alembic%'"
        ).fetchall():
            database.execute(f"DELETE FROM {table}")
    track.run(params)
    kept = {
        name: points for name, points in full.items() if name[0] != "train 7 joint (sample)"
    }  # a killed stage wrote no file
    assert histories(study) == kept


def test_other_numbers_under_the_same_key_take_the_runs_place(
    study: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study)
    track.run(params)
    names = runs_of(study).keys()
    path = study / "results" / "toy_aim.json"
    content = read_json(path)
    write_json(path, {**content, "selection": {"val": {"accuracy": {"mean": 0.75, "std": 0.05}}}})
    try:
        track.run(params)
    finally:
        write_json(path, content)
    runs = runs_of(study)
    assert runs.keys() == names
    assert histories(study)["aim (sample)", "z/selection.val/accuracy/mean"] == [(0, 0.75)]
    children = [
        run for run in runs.values() if run.data.tags.get("mlflow.parentRunId") == runs["aim (sample)"].info.run_id
    ]
    assert len(children) == 6


def test_other_settings_are_another_run_and_retire_the_first(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from equimodal.tracking.runs import Runs

    monkeypatch.chdir(study)
    runs = Runs("sqlite:///mlflow.db")
    first = runs.open(RunInfo("other", "joint", "train", "first", "local", 0, settings={"lr": 1}))
    second = runs.open(RunInfo("other", "joint", "train", "second", "local", 0, settings={"lr": 2}))
    current = {run_id: runs.client.get_run(run_id).data.tags["current"] for run_id in (first.run_id, second.run_id)}
    assert current == {first.run_id: "false", second.run_id: "true"}
    assert second.stored.info.run_name == "train 0 joint"  # real data: no remark


def test_epochs_that_differ_replace_those_from_there_on(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from equimodal.tracking.runs import Runs

    monkeypatch.chdir(study)
    runs = Runs("sqlite:///mlflow.db")
    info = RunInfo("other", "audio", "train", "again", "local", 0, settings={"lr": 1})
    old = runs.open(info)
    old.log([(epoch, {"loss": float(epoch), "time/epoch_seconds": 1.0}, 1000 * epoch) for epoch in range(3)])
    new = runs.open(info)
    for epoch, loss in enumerate([0.0, 1.5, 2.5]):
        new.log([(epoch, {"loss": loss, "time/epoch_seconds": 9.0}, 5000 + epoch)])
    assert runs.client.get_run(old.run_id).info.lifecycle_stage == "deleted"
    (experiment,) = {runs.client.get_run(new.run_id).info.experiment_id}
    assert [run.info.run_id for run in runs.search(experiment, {"key": "again"})] == [new.run_id]
    assert [(point.step, point.value) for point in runs.client.get_metric_history(new.run_id, "loss")] == [
        (0, 0.0),
        (1, 1.5),
        (2, 2.5),
    ]
    assert runs.client.get_run(new.run_id).data.params == {"lr": "1"}
