"""The process that outlives an engine: when that is killed, it ends the jobs that are left, and mends what DVC left
half written.

A stage that went on without its engine would work for nothing: neither engine takes its outputs for done, and the next
one begins it anew, without the checkpoint that a finished stage drops. Told to end, it keeps its finished epochs.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from equimodal.engines.marks import Mark, marks

END_SECONDS = 10  # that a job has to end by itself
LOCKED = ".dvc/tmp/rwlock"  # in which each DVC writes its process and the files that it works on


def start(engine: Mark) -> None:
    """Start the keeper of an engine, unless it has one. It holds the mark of a DVC, which has none of its own."""
    if engine.engine == "dvc" and engine.state == "living":
        return
    child = subprocess.Popen(
        [sys.executable, "-m", "equimodal.engines.keeper", engine.path.name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # neither Ctrl-C nor a kill of the engine's process group reaches it
    )
    child.returncode = 0  # it outlives us on purpose: no ResourceWarning


def dvc_above() -> int:
    """Id of the DVC process that runs this one's command; -1 if it has ended, 0 if that cannot be told."""
    for _ in range(20):  # another DVC may be writing the file
        try:
            locked = json.loads((Path(os.environ.get("DVC_ROOT", "")) / LOCKED).read_text(encoding="utf-8"))
            readers = [info for infos in locked.get("read", {}).values() for info in infos]
            pids = {int(info["pid"]) for info in [*readers, *locked.get("write", {}).values()]}
        except OSError:
            return 0
        except (ValueError, AttributeError, KeyError, TypeError):
            time.sleep(0.05)
            continue
        above = [parent.pid for parent in psutil.Process().parents()]
        return next((pid for pid in above if pid in pids), -1 if pids else 0)
    return 0


def main() -> None:
    """Wait for the engine's end, then see to what it left."""
    engine = Mark.read(sys.argv[1])
    assert engine is not None
    if engine.engine == "dvc":
        try:
            with FileLock(engine.path, timeout=1), contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(engine.pid).wait()
        except Timeout:  # it has a keeper
            return
        from equimodal.engines.mending import mend_dvc  # not at the top: every job imports this module

        mend_dvc(Path(os.environ.get("DVC_ROOT", "")), Path())
    else:
        with contextlib.suppress(FileNotFoundError), engine.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
    end_jobs(engine)
    if engine.engine == "dvc":
        engine.path.unlink(missing_ok=True)


def end_jobs(engine: Mark) -> None:
    """End the jobs that a dead engine left: as Ctrl-C does, and by force what does not end then."""
    deadline = time.monotonic() + END_SECONDS
    told: set[int] = set()
    while jobs := [mark.job for mark in marks() if mark.owner == engine and mark.job and mark.state == "living"]:
        for pid in jobs:
            with contextlib.suppress(psutil.Error):
                job = psutil.Process(pid)
                if not _runs_a_stage(job):
                    return
                if time.monotonic() > deadline:
                    job.kill()
                elif pid not in told:
                    job.terminate()
        told.update(jobs)
        time.sleep(0.1)


def _runs_a_stage(job: psutil.Process) -> bool:
    """Whether a process is what its mark says: in a container, whose processes have numbers of their own, it is not."""
    return job.cwd() == str(Path.cwd()) and any("equimodal" in word for word in job.cmdline())


if __name__ == "__main__":
    main()
