"""A Snakemake that is killed, and what the next one does about it. One project, used from top to bottom."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine_project import SCRATCH_STUDY, Project, copy_project

TARGET = ("snakemake", "--cores", "1", "--", "data/cremad/index.json")
SLOW = (
    "\n\n_quick = run\n\n\ndef run(params, dataset):\n    import time\n    Path('began').touch()\n    time.sleep(60)\n"
)


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy whose first stage takes long."""
    study = SCRATCH_STUDY.format(datasets="cremad", methods="joint")
    made = copy_project(root, tmp_path_factory.mktemp("copy") / "project", study)
    stub = made.root / "src/equimodal/stages/raw.py"
    stub.write_text(stub.read_text() + SLOW)
    return made


def started(project: Project) -> "subprocess.Popen[str]":
    """A Snakemake that is in its first job."""
    began = project.root / "began"
    began.unlink(missing_ok=True)
    command = [str(Path(sys.executable).parent / TARGET[0]), *TARGET[1:]]
    engine = subprocess.Popen(
        command, cwd=project.root, env=project.environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120  # a machine that does other things too is slow
    while not began.exists():
        assert engine.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    return engine


def test_the_lock_of_a_living_snakemake_stays_and_that_of_a_killed_one_goes(project: Project) -> None:
    engine = started(project)
    second = project.run(*TARGET, check=False)
    assert (
        second.returncode and "Directory cannot be locked" in second.stderr and "removed the lock" not in second.stderr
    )
    engine.kill()
    engine.communicate()
    stub = project.root / "src/equimodal/stages/raw.py"
    stub.write_text(stub.read_text().removesuffix(SLOW))
    done = project.run(*TARGET)
    said = f"removed the lock of a snakemake that was killed (process {engine.pid})"
    assert done.stderr.splitlines().count(said) == 1
    assert project.ran() == ["index cremad", "raw cremad"], "the job that was left has been ended"
    assert {path.name for path in (project.root / ".equimodal/locks").iterdir()} == {"starting.lock"}
    assert "removed the lock" not in project.run(*TARGET).stderr
    stub.write_text(stub.read_text() + SLOW)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_in_one_line_and_no_traceback(times: int, project: Project) -> None:
    engine = started(project)
    for _ in range(times):
        os.killpg(engine.pid, signal.SIGINT)
        time.sleep(0.2)
    said = engine.communicate(timeout=120)[1]
    assert "Traceback" not in said and engine.returncode
    assert said.strip().splitlines()[-1].startswith("interrupted: finished epochs are kept")
