"""What the Snakefile does before any rule is read: settings and targets checked in one line, the environment's commands
found, the engine marked; and what it says last.
"""

import atexit
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from filelock import FileLock

from equimodal.engines import declarations, ending, estimate, keeper, locks
from equimodal.engines.marks import FOLDER, Mark, machine, marks, sweep, wait_for_orphans
from equimodal.errors import UserError
from equimodal.params import Params, load_params, warn_of_broken

SNAKEMAKES = Path(".snakemake/locks")  # Snakemake's own, which a kill leaves behind
_held = ExitStack()


def command_line(words: list[str]) -> Params:
    """Read params.yaml for a Snakemake started with the command line `words`;
    a mistake in either ends it with one line.

    Also sets what jobs inherit: the folder of this interpreter first on PATH, so that `.venv/bin/snakemake` works
    without activation, and the engine's name and mark. Snakemake locks the folder later, when it has planned its jobs.
    """
    ending.end_at_second_interruption()
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ["EQUIMODAL_ENGINE"] = "snakemake"
    try:
        params = load_params()
        warn_of_broken(params)
        declarations.check_targets(params, words[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
    if "--mode" not in words:  # a job of another Snakemake, on a cluster
        _begun(unlocks="--unlock" in words)
    return params


def _begun(unlocks: bool) -> None:
    """Mark this Snakemake as living, and take away the lock of one that was killed, unless one may live beside it.

    Args:
        unlocks: whether it was started by someone who says that no other lives.
    """
    wait_for_orphans()
    own = Mark("snakemake", os.getpid(), machine())
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / "starting.lock"):  # of two that start together, the second sees the first one's mark
        living = [mark for mark in sweep() if mark.engine == "snakemake"]
        dead = [mark for mark in marks() if mark.engine == "snakemake" and mark not in living]
        _held.enter_context(own.held())
        if unlocks or (dead and not living):
            if any(SNAKEMAKES.glob("*.lock")) and not unlocks:
                shutil.rmtree(SNAKEMAKES, ignore_errors=True)
                print(f"removed the lock of a snakemake that was killed (process {dead[-1].pid})", file=sys.stderr)
            for mark in [*dead, *(mark for mark in living if mark.state == "unknown")]:
                if mark != own:
                    mark.path.unlink(missing_ok=True)
    atexit.register(_held.close)
    os.environ[locks.MARK] = own.path.name


def registered_engine() -> None:
    """Mark this folder as Snakemake's until the process ends; ends it with one line when DVC is at work here."""
    try:
        _held.enter_context(locks.engine("snakemake"))
    except UserError as error:
        sys.exit(f"error: {error}")
    keeper.start(Mark("snakemake", os.getpid(), machine()))


def announce(workflow: Any) -> None:
    """Say on stderr how many jobs Snakemake's `workflow` is about to run, and about how long they take."""
    dag = workflow.dag
    waiting = set(dag.needrun_jobs())
    places: dict[Any, int] = {}
    jobs = []
    for job in (each for level in dag.toposorted() for each in level if each in waiting):
        benchmark = Path(job.benchmark) if job.benchmark else None
        after = tuple(places[other] for other in dag.dependencies[job] if other in places)
        resources = job.resources
        jobs.append(estimate.Job(job.rule.name, benchmark, job.threads, int(resources.get("gpu", 0)), after))
        places[job] = len(places)
    cores = workflow.cores if workflow.local_exec else None
    print(estimate.announcement(jobs, len(list(dag.jobs)), cores), file=sys.stderr, flush=True)


def gpus(params: Params) -> int:
    """GPUs that one training takes here: none on a machine without, so that several trainings may share its cores."""
    runtime = params.runtime
    on_gpu = runtime.device == "cuda" or (runtime.device == "auto" and Path("/dev/nvidiactl").exists())
    return runtime.devices if on_gpu else 0
