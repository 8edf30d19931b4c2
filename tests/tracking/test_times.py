"""Every stage of a result, tracked by real MLflow: runs that start and end when their stages did, live and rebuilt."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny_dataset
from equimodal.stages import evaluate, operations, prototypes, summary, track, train, warmup
from equimodal.tracking import clock

LIMIT = 240  # seconds for the children, on a machine that does other things too


def runs_of(folder: Path) -> dict[str, Any]:
    """Stage -> run."""
    if not (folder / "mlflow.db").exists():  # looking would make it
        return {}
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("tiny")
    return (
        {} if experiment is None else {r.data.tags["stage"]: r for r in client.search_runs([experiment.experiment_id])}
    )


@pytest.mark.slow
def test_runs_start_and_end_with_their_stages(tiny: Path) -> None:
    # An address of its own: mlflow keeps the connections of a process by it.
    params = tiny_dataset.params(tracking={"enabled": True, "uri": f"sqlite:///{tiny}/mlflow.db"})
    stages: dict[str, Callable[..., None]] = {
        "warmup": warmup.run,
        "prototypes": prototypes.run,
        "train": train.run,
        "evaluate": evaluate.run,
    }
    spans = {}
    for stage, run in stages.items():
        begun = clock.now()
        run(params, "tiny", "aim", 0)
        spans[stage] = begun, clock.now()
    operations.run(params, "tiny", "aim")
    summary.run(params, "tiny", "aim", [0])
    deadline = time.monotonic() + LIMIT
    while len(found := runs_of(tiny)) < 5 or any(run.info.status != "FINISHED" for run in found.values()):
        assert time.monotonic() < deadline, {stage: run.info.status for stage, run in found.items()}
        time.sleep(1)
    check(found, spans)
    live = {stage: (run.info.start_time, run.info.end_time) for stage, run in found.items()}
    with sqlite3.connect("mlflow.db") as database:
        for (table,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'alembic%'"
        ).fetchall():
            database.execute(f"DELETE FROM {table}")
    track.run(params)
    check(runs_of(tiny), spans)
    assert runs_of(tiny)["result"].info.start_time == runs_of(tiny)["warmup"].info.start_time
    for stage in ("warmup", "train"):  # a live run ends when its stage says so, its file a moment before
        run = runs_of(tiny)[stage]
        assert run.info.start_time == live[stage][0] and abs(run.info.end_time - live[stage][1]) < 2000


def check(runs: dict[str, Any], spans: dict[str, tuple[int, int]]) -> None:
    """Each within its stage's own call, and the result around them."""
    assert runs.keys() == {*spans, "result"}
    for stage, (begun, ended) in spans.items():
        info = runs[stage].info
        assert begun <= info.start_time < info.end_time <= ended, stage
    result = runs["result"].info
    # Children that wait for a fresh database come in any order; the first one opens the result's run.
    assert spans["warmup"][0] <= result.start_time <= spans["evaluate"][1]
    assert result.end_time >= runs["evaluate"].info.end_time
