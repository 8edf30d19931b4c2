"""Marks: who lives here, who has died, and whom it left."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from equimodal.engines import marks
from equimodal.engines.marks import Mark, machine, orphans, sweep

ENGINE = Mark("snakemake", 100, machine())
JOB = Mark("snakemake", 100, machine(), 230)


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Mark], "subprocess.Popen[str]"]]:
    """Starts processes that hold a mark in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    started: list[subprocess.Popen[str]] = []

    def start(mark: Mark) -> "subprocess.Popen[str]":
        code = f"from equimodal.engines.marks import Mark\nwith {mark!r}.held():\n    print(flush=True); input()"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout is not None and child.stdout.readline() == "\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def kill(child: "subprocess.Popen[str]") -> None:
    child.kill()
    child.wait()


def test_a_name_says_who_it_is() -> None:
    for mark in (ENGINE, JOB, Mark("dvc", 0, "my-host.example.org+12ab34cd", 7)):
        assert Mark.read(mark.path) == mark
    assert JOB.owner == ENGINE == ENGINE.owner
    for other in ("train-cremad-aim-0.lock", "engine-snakemake-100.lock", "engine-x@here.lock", ""):
        assert (found := Mark.read(other)) is None or not found.machine


def test_a_mark_lives_and_dies_with_its_process(process: Callable[[Mark], "subprocess.Popen[str]"]) -> None:
    child = process(ENGINE)
    assert ENGINE.state == "living"
    kill(child)
    assert ENGINE.state == "dead" and ENGINE.path.is_file()
    with ENGINE.held():
        assert ENGINE.state == "living"
    assert ENGINE.state == "unknown" and not ENGINE.path.exists()


@pytest.mark.parametrize(
    ("there", "state"), [("other+12345678", "unknown"), ("other+{boot}", "dead"), ("{host}+12345678", "dead")]
)
def test_only_marks_of_this_machine_are_judged_dead(
    there: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    host, _, boot = machine().partition("+")
    mark = Mark("snakemake", 100, there.format(host=host, boot=boot))
    mark.path.parent.mkdir(parents=True)
    mark.path.touch()
    assert mark.state == state


def test_marks_of_the_dead_are_removed_unless_somebody_needs_them(
    process: Callable[[Mark], "subprocess.Popen[str]"],
) -> None:
    dvc = Mark("dvc", 101, machine())
    engine, job, other = process(ENGINE), process(JOB), process(dvc)
    dvc_job = process(Mark("dvc", 101, machine(), 231))
    assert orphans() == [] and len(sweep()) == 4
    kill(engine)
    kill(other)
    assert [mark.job for mark in orphans()] == [231, 230]
    assert len(sweep()) == 2 and dvc.path.exists(), "its job lives"
    kill(job)
    kill(dvc_job)
    assert orphans() == [] and sweep() == []
    assert list(marks.FOLDER.iterdir()) == [ENGINE.path], "until the next Snakemake has seen to its lock"


def test_whoever_looks_does_not_keep_a_mark_from_being_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ENGINE.path.parent.mkdir(parents=True)
    ENGINE.path.touch()
    looking = (
        "import fcntl, sys, time\nfile = open(sys.argv[1], 'rb')\nfcntl.flock(file, fcntl.LOCK_SH)\n"
        "print(flush=True)\ntime.sleep(0.3)"
    )
    child = subprocess.Popen([sys.executable, "-c", looking, str(ENGINE.path)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()
    with ENGINE.held():
        assert child.wait(5) == 0
    child.communicate()
