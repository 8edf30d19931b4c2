"""Two locks that keep a folder's files whole: one run of a stage at a time, one engine at a time.

Both are file locks of the operating system (filelock), which vanish with their process: a killed stage leaves nothing
to clean up. The text in a lock file only serves the message to whoever comes second.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from equimodal.errors import UserError

FOLDER = Path(".equimodal/locks")
ENGINES = ("snakemake", "dvc")


@contextlib.contextmanager
def stage(key: str) -> Iterator[None]:
    """Hold the lock of one stage's outputs, for example `train-cremad-aim-0`.

    Raises:
        UserError: another live process holds it.
    """
    with _held(FOLDER / f"{key}.lock", f"{key} is already running here (%s): wait for it, or stop it"):
        yield


@contextlib.contextmanager
def engine(name: str | None) -> Iterator[None]:
    """Say that this process works for engine `name` (`snakemake`, `dvc`, or None for a command typed by hand).

    Any number of processes of one engine may work at once; Snakemake and DVC together may not, as each deletes a
    stage's outputs before it runs the stage.

    Raises:
        UserError: a live process of the other engine works in this folder.
    """
    if name is None:
        yield
        return
    # Own mark first, then the look at the other's: of two that start at the same moment at least one sees the other.
    with _held(FOLDER / f"engine-{name}-{os.getpid()}.lock", f"{name} is already registered (%s)"):
        for other in ENGINES:
            if other != name and (pid := running(other)):
                raise UserError(
                    f"{other} is at work in this folder (process {pid}), {name} must wait: run one engine at a time"
                )
        yield


def running(name: str) -> int | None:
    """Process id of a live process working for engine `name` here, or None. Marks of dead processes are removed."""
    for path in sorted(FOLDER.glob(f"engine-{name}-*.lock")):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return int(path.stem.rpartition("-")[2])
        path.unlink(missing_ok=True)
        lock.release()
    return None


def current_engine() -> str | None:
    """The engine that started this process:
    DVC sets DVC_STAGE for its commands, our Snakefile sets EQUIMODAL_ENGINE.
    """
    if "DVC_STAGE" in os.environ:
        return "dvc"
    return os.environ.get("EQUIMODAL_ENGINE")


@contextlib.contextmanager
def _held(path: Path, taken: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(taken % _holder(path)) from None
    path.with_suffix(".txt").write_text(
        f"process {os.getpid()}, started by {current_engine() or 'hand'}", encoding="utf-8"
    )
    try:
        yield
    finally:
        path.with_suffix(".txt").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    try:
        return path.with_suffix(".txt").read_text(encoding="utf-8")
    except OSError:
        return "another process"
