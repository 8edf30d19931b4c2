"""What the Snakefile does before any rule is read: settings and targets checked in one line, the environment's commands
found, the engine marked.
"""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from equimodal.engines import declarations, estimate, locks
from equimodal.errors import UserError
from equimodal.params import Params, load_params, warn_of_broken

_held = ExitStack()


def command_line(words: list[str]) -> Params:
    """Read params.yaml for a Snakemake started with the command line `words`;
    a mistake in either ends it with one line.

    Also sets what jobs inherit: the folder of this interpreter first on PATH, so that `.venv/bin/snakemake` works
    without activation, and the engine's name.
    """
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ["EQUIMODAL_ENGINE"] = "snakemake"
    try:
        params = load_params()
        warn_of_broken(params)
        declarations.check_targets(params, words[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
    return params


def registered_engine() -> None:
    """Mark this folder as Snakemake's until the process ends; ends it with one line when DVC is at work here."""
    try:
        _held.enter_context(locks.engine("snakemake"))
    except UserError as error:
        sys.exit(f"error: {error}")


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
