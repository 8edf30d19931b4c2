"""Locks: who comes second is told so, and nothing has to be cleaned up after a death."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from equimodal.engines import locks
from equimodal.errors import UserError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.delenv("EQUIMODAL_ENGINE", raising=False)
    return tmp_path


def holder(statement: str) -> subprocess.Popen[str]:
    """Another process that holds a lock until it is killed; returns once it does."""
    code = (
        f"from equimodal.engines import locks\nimport time\nwith {statement}:\n    print('held',"
        " flush=True)\n    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_same_stage_twice_is_refused_and_another_is_not() -> None:
    process = holder("locks.stage('train-cremad-aim-0')")
    try:
        with (
            pytest.raises(UserError, match=rf"train-cremad-aim-0 is already running here \(process {process.pid}"),
            locks.stage("train-cremad-aim-0"),
        ):
            pass
        with locks.stage("train-cremad-aim-1"):
            pass
    finally:
        process.kill()
        process.wait()


def test_a_dead_process_leaves_no_lock() -> None:
    for statement in ("locks.stage('train-cremad-aim-0')", "locks.engine('dvc')"):
        process = holder(statement)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert list(locks.FOLDER.glob("engine-dvc-*.lock")), "the mark of the dead process should still lie there"
    with locks.stage("train-cremad-aim-0"), locks.engine("snakemake"):
        assert locks.running("dvc") is None


def test_two_engines_are_refused_whoever_comes_second() -> None:
    for first, second in (("dvc", "snakemake"), ("snakemake", "dvc")):
        process = holder(f"locks.engine('{first}')")
        try:
            with (
                pytest.raises(
                    UserError, match=f"{first} is at work in this folder .process {process.pid}., {second} must wait"
                ),
                locks.engine(second),
            ):
                pass
            # a further job of the same engine, and a command typed by hand
            with (
                locks.engine(first),
                locks.engine(None),
            ):
                pass
        finally:
            process.kill()
            process.wait()


def test_marks_and_locks_are_gone_after_use() -> None:
    with locks.engine("dvc"), locks.stage("raw-cremad"):
        assert len(list(locks.FOLDER.iterdir())) >= 2
    assert not list(locks.FOLDER.iterdir())
    with locks.stage("raw-cremad"):
        pass


def test_an_error_inside_frees_the_lock() -> None:
    with pytest.raises(ZeroDivisionError), locks.stage("raw-cremad"):
        raise ZeroDivisionError
    start = time.monotonic()
    with locks.stage("raw-cremad"):
        assert time.monotonic() - start < 1


def test_engine_is_told_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert locks.current_engine() is None
    monkeypatch.setenv("EQUIMODAL_ENGINE", "snakemake")
    assert locks.current_engine() == "snakemake"
    monkeypatch.setenv("DVC_STAGE", "dvc.yaml:raw@cremad")
    assert locks.current_engine() == "dvc"
