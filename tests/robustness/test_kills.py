"""Engines killed at random moments of one study that goes on: each is started again as it was, and the bytes at the end
are those of an unbroken run.

EQUIMODAL_KILLS=200 sets how many kills each engine gets.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine_project import Project, copy_project
from equimodal.store import file_sha256
from robustness.tally import HANG, OTHER_BYTES, STUCK, SURVIVED, Tally
from sample_study import small_params, study

KILLS = int(os.environ.get("EQUIMODAL_KILLS", "30"))
PART = 1 / 3  # of an unbroken run's time, within which a kill falls: an engine's start, and some stages
LIMIT = 600.0
COMMANDS = {
    "snakemake": ("snakemake", "--cores", "2", "--", "results/mosi_joint.json"),
    "dvc": ("dvc", "repro", "summary-from-scratch@mosi-joint"),
}
MADE = ("data", "models", "results", ".checkpoints")
pytestmark = pytest.mark.slow


def small_project(root: Path, folder: Path) -> Project:
    """A copy with real stages, and the smallest study: arrays, one method, one seed."""
    project = copy_project(root, folder / "project", study=None, stubs=False)
    params = small_params(root, ["mosi"])
    alone = {key: [] for key in ("from-warmup", "warmups", "fits", "tables")}
    params |= {"study": {**study(["mosi"], ["joint"]), **alone}, "studies": {}}
    (project.root / "params.yaml").write_text(json.dumps(params))
    return project


def made(project: Project) -> dict[str, str]:
    """Checksums of what the study consists of."""
    files = [path for folder in MADE for path in sorted((project.root / folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(project.root)): file_sha256(path) for path in files if "plan" not in path.parts}


def started(project: Project, words: tuple[str, ...]) -> "subprocess.Popen[str]":
    command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
    with (project.root / "said.txt").open("w") as said:
        return subprocess.Popen(
            command, cwd=project.root, env=project.environment, stdout=said, stderr=said, start_new_session=True
        )


def killed(engine: "subprocess.Popen[str]", seconds: float, whole_group: bool) -> int | None:
    """Let an engine run for some seconds and kill it; its status if it ended before."""
    try:
        return engine.wait(seconds)
    except subprocess.TimeoutExpired:
        if whole_group:
            os.killpg(engine.pid, signal.SIGKILL)
        else:
            engine.kill()
        engine.wait()
        return None


def begin_again(project: Project, rng: random.Random) -> None:
    """Throw the outputs away, and half the times what DVC would restore them from."""
    for folder in MADE:
        shutil.rmtree(project.root / folder, ignore_errors=True)
    if rng.random() < 0.5:
        shutil.rmtree(project.root / ".dvc/cache", ignore_errors=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_engines_go_on_to_the_same_bytes(
    name: str, root: Path, tmp_path: Path, rng: random.Random, tally: Tally
) -> None:
    unbroken, project = (small_project(root, tmp_path / folder) for folder in ("unbroken", "killed"))
    begun = time.monotonic()
    unbroken.run(*COMMANDS[name], timeout=LIMIT)
    within = PART * (time.monotonic() - begun)
    wanted = made(unbroken)
    kills = 0
    tried = "the first start"

    def judged(status: int) -> None:
        said = (project.root / "said.txt").read_text()
        if status:
            tally.add(STUCK, f"{name} after {tried}: {said[-2000:]}")
            shutil.copytree(project.root, tmp_path / f"stuck-{kills}", symlinks=True)
        elif made(project) != wanted:
            tally.add(OTHER_BYTES, f"{name} after {tried}")
        begin_again(project, rng)

    while kills < KILLS:
        seconds, whole_group = rng.uniform(0, within), rng.random() < 0.5
        status = killed(started(project, COMMANDS[name]), seconds, whole_group)
        if status is None:
            kills += 1
            tried = f"kill {kills} of {'all its processes' if whole_group else 'it alone'} at {seconds:.3f} s"
            tally.add(SURVIVED)
        else:
            judged(status)
    last = started(project, COMMANDS[name])
    try:
        judged(last.wait(LIMIT))
    except subprocess.TimeoutExpired:
        last.kill()
        tally.add(HANG, f"{name} after {tried}")
