"""Two locks that keep a folder's files whole: one run of a stage at a time, one engine at a time.

Both are file locks of the operating system (filelock), which vanish with their process: a killed stage leaves nothing
to clean up. The text in a lock file only serves the message to whoever comes second.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from equimodal.engines import keeper
from equimodal.engines.marks import FOLDER, Mark, machine, sweep, wait_for_orphans
from equimodal.errors import UserError

ENGINES = ("snakemake", "dvc")
MARK = "EQUIMODAL_ENGINE_MARK"  # a Snakemake tells its jobs who it is


@contextlib.contextmanager
def stage(key: str) -> Iterator[None]:
    """Hold the lock of one stage's outputs, for example `train-cremad-aim-0`.

    Raises:
        UserError: another live process holds it.
    """
    path = FOLDER / f"{key}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{key} is already running here ({_holder(path)}): wait for it, or stop it") from None
    path.with_suffix(".txt").write_text(
        f"process {os.getpid()}, started by {current_engine() or 'hand'}", encoding="utf-8"
    )
    try:
        yield
    finally:
        path.with_suffix(".txt").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def engine(name: str | None) -> Iterator[None]:
    """Say that this process works for engine `name` (`snakemake`, `dvc`, or None for a command typed by hand).

    Any number of processes of one engine may work at once; Snakemake and DVC together may not, as each deletes a
    stage's outputs before it runs the stage. What a killed engine has left running is waited for.

    Raises:
        UserError: a live process of the other engine works in this folder, or the engine that started this one is dead.
    """
    if name is None:
        yield
        return
    wait_for_orphans()
    owner = _owner(name)
    # Own mark first, then the look at the others': of two that start at the same moment at least one sees the other,
    # and of an engine's death hears either its keeper's look for jobs or the one here.
    with Mark(name, owner.pid, owner.machine, os.getpid()).held():
        if name == "dvc" and _owner(name) == owner and owner.pid:
            keeper.start(owner)
        elif owner.state == "dead" or _owner(name) != owner:
            raise UserError(f"the {name} that started this (process {owner.pid}) has ended: start it again")
        for other in ENGINES:
            if other != name and (pid := running(other)):
                raise UserError(
                    f"{other} is at work in this folder (process {pid}), {name} must wait: run one engine at a time"
                )
        yield


def running(name: str) -> int | None:
    """Process id of a live process working for engine `name` here, or None. Marks of dead processes are removed."""
    jobs = (mark for mark in sweep() if mark.engine == name and mark.job is not None)
    return next((mark.job for mark in jobs if mark.state == "living"), None)


def current_engine() -> str | None:
    """The engine that started this process:
    DVC sets DVC_STAGE for its commands, our Snakefile sets EQUIMODAL_ENGINE.
    """
    if "DVC_STAGE" in os.environ:
        return "dvc"
    return os.environ.get("EQUIMODAL_ENGINE")


def _owner(name: str) -> Mark:
    """The engine that this process works for; its process is 0 where that cannot be told, -1 if it is gone."""
    if name == "snakemake" and (known := Mark.read(os.environ.get(MARK, ""))) is not None:
        return known
    return Mark(name, keeper.dvc_above() if name == "dvc" else 0, machine())


def _holder(path: Path) -> str:
    try:
        return path.with_suffix(".txt").read_text(encoding="utf-8")
    except OSError:
        return "another process"
