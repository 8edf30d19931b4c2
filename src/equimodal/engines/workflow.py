"""What the Snakefile does before any rule is read: settings and targets checked in one line, the environment's commands
found, the engine marked.
"""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from equimodal.engines import declarations, locks
from equimodal.errors import UserError
from equimodal.params import Params, load_params

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


def gpus(params: Params) -> int:
    """GPUs that one training takes here: none on a machine without, so that several trainings may share its cores."""
    runtime = params.runtime
    on_gpu = runtime.device == "cuda" or (runtime.device == "auto" and Path("/dev/nvidiactl").exists())
    return runtime.devices if on_gpu else 0
