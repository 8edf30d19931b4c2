"""Run a training command in a process of its own, and kill it for real."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from equimodal.store import read_tensors

# Trains a method of the tiny dataset; either process leaves its tensors. Fabric starts further processes from the
# script's own path, so this must be a file.
PROBE = """
import os, sys
from pathlib import Path
from equimodal.params import load_params
from equimodal.stages import train
from equimodal.stages.running import Run
from equimodal.store import write_tensors

finish = Run.finish

def probe(self, loop, write):
    assert loop.fabric.world_size == 2
    facts = {"tracked": self.tracker._child is not None, "extra": loop.method.extra()}
    write_tensors(Path(f"rank{loop.fabric.global_rank}.safetensors"), loop.method.state_dict(), facts)
    finish(self, loop, write)

Run.finish = probe
train.run(load_params(), "tiny", sys.argv[1], 0)
"""

# Opens a method's loop on the tiny dataset; a test's own steps follow, and what they leave in `found` (tensors) and
# `facts` (JSON-able) is written.
OPENING = """
import sys
from pathlib import Path
import torch
from equimodal.params import load_params
from equimodal.stages.setup import Setup
from equimodal.store import write_tensors
from equimodal.training.loop import Loop

params = load_params()
setup = Setup.open(params, "tiny", sys.argv[1], 0)
loop = Loop(setup.method(), setup.data, params.training, params.runtime, 0, Path("unused"), "", "probe")
assert loop.fabric.world_size == 2
method, found, facts = loop.method.train(), {}, {}
"""
CLOSING = """
write_tensors(Path(f"rank{loop.fabric.global_rank}.safetensors"), found, facts)
"""

LIMIT = 240  # seconds; a machine that does other things too is slow


def command(*words: str) -> list[str]:
    """`equimodal` with these words, by this Python."""
    return [sys.executable, "-m", "equimodal", *words]


def environment() -> dict[str, str]:
    """This process's, without what an engine or a launcher of several processes may have left in it."""
    left_out = {"LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "DVC_STAGE", "EQUIMODAL_ENGINE"}
    return {name: value for name, value in os.environ.items() if name not in left_out}


def probe(text: str, *words: str) -> "tuple[str, list[tuple[dict[str, Any], dict[str, Any]]]]":
    """Run a program of two processes in the present folder: what it said on stderr, and what either left as
    rank{0, 1}.safetensors.
    """
    Path("probe.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "probe.py", *words],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr, [read_tensors(Path(f"rank{rank}.safetensors")) for rank in (0, 1)]


def steps(text: str, method: str) -> "list[tuple[dict[str, Any], dict[str, Any]]]":
    """What two processes leave of steps that `text` takes with `loop` and its `method`, in training mode."""
    return probe(OPENING + text + CLOSING, method)[1]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run to the end; its output is in the result."""
    done = subprocess.run(
        command(*words), env=environment(), capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def kill_after_epoch(epoch: int, checkpoint: Path, *words: str) -> int:
    """Start the command, SIGKILL it once its checkpoint holds `epoch` or a later one; returns how many epochs the
    checkpoint then holds.
    """
    process = subprocess.Popen(
        command(*words), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + LIMIT
    try:
        while not (checkpoint.is_file() and epochs(checkpoint) > epoch):
            assert process.poll() is None, (
                f"ended before it could be killed: {process.stderr.read() if process.stderr else ''}"
            )
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    return epochs(checkpoint)


def epochs(checkpoint: Path) -> int:
    """Epochs that a checkpoint holds."""
    done: int = read_tensors(checkpoint)[1]["epoch"]
    return done
