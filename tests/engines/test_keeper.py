"""Who outlives an engine ends the jobs that it left, and no other process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from equimodal.engines import keeper
from equimodal.engines.marks import Mark, machine

Start = Callable[..., "subprocess.Popen[str]"]
IGNORES = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a process that works for an engine until it is ended."""
    monkeypatch.chdir(tmp_path)
    started: list[subprocess.Popen[str]] = []

    def start(engine: Mark, does: str = "", word: str = "equimodal") -> "subprocess.Popen[str]":
        code = (
            f"import os, signal, sys, time\nsys.path[:0] = {sys.path!r}\nfrom equi"
            + "modal.engines.marks import Mark\n"
            f"{does}\nwith Mark({engine.engine!r}, {engine.pid}, {engine.machine!r}, os.getpid()).held():\n"
            "    print(flush=True)\n    time.sleep(60)"
        )
        Path("job.py").write_text(code)
        child = subprocess.Popen([sys.executable, "job.py", word], stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout is not None and child.stdout.readline() == "\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_jobs_of_a_dead_engine_are_told_to_end_and_those_of_others_are_not(job: Start) -> None:
    engine, other = Mark("snakemake", 100, machine()), Mark("snakemake", 101, machine())
    mine, theirs = job(engine), job(other)
    keeper.end_jobs(engine)
    assert mine.wait(5) == -signal.SIGTERM and theirs.poll() is None


def test_a_job_that_does_not_end_is_ended(job: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "END_SECONDS", 0.5)
    engine = Mark("dvc", 100, machine())
    mine = job(engine, IGNORES)
    keeper.end_jobs(engine)
    assert mine.wait(5) == -signal.SIGKILL


def test_a_process_that_is_no_stage_is_left_alone(job: Start) -> None:
    engine = Mark("snakemake", 100, machine())
    mine = job(engine, word="something")
    keeper.end_jobs(engine)
    assert mine.poll() is None


@pytest.mark.parametrize("name", ["snakemake", "dvc"])
def test_a_keeper_waits_for_its_engine_to_end(name: str, job: Start) -> None:
    works = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    engine = Mark(name, works.pid, machine())
    if name == "snakemake":
        code = f"from equimodal.engines.marks import Mark\nwith {engine!r}.held():\n    print(flush=True); input()"
        works.kill()
        works.wait()
        works = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert works.stdout is not None and works.stdout.readline()
    mine = job(engine)
    keeper.start(engine)
    deadline = time.monotonic() + 20
    while engine.state != "living" and time.monotonic() < deadline:
        time.sleep(0.05)
    keeper.start(engine)  # a DVC's next job
    time.sleep(0.5)
    assert mine.poll() is None
    works.kill()
    works.wait()
    assert mine.wait(20) == -signal.SIGTERM
    works.communicate()


def test_the_dvc_above_is_the_one_that_dvc_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert keeper.dvc_above() == 0, "no DVC has ever worked here"
    Path(".dvc/tmp").mkdir(parents=True)

    def locks(write: list[int], read: list[int]) -> None:
        infos = {"write": {str(pid): {"pid": pid, "cmd": "dvc repro"} for pid in write}}
        infos |= {"read": {"x": [{"pid": pid, "cmd": "dvc repro"} for pid in read]}}
        Path(".dvc/tmp/rwlock").write_text(json.dumps(infos))

    locks([os.getppid()], [])
    assert keeper.dvc_above() == os.getppid()
    locks([1 << 22], [os.getppid()])
    assert keeper.dvc_above() == os.getppid()
    locks([1 << 22], [])
    assert keeper.dvc_above() == -1, "another one works, ours has ended"
    locks([], [])
    assert keeper.dvc_above() == 0
    Path(".dvc/tmp/rwlock").write_text("")
    assert keeper.dvc_above() == 0
