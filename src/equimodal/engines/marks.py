"""Who works here: each engine, and each process that runs a stage for one, holds a file lock of its own while it lives.

The operating system takes the lock away with its process, however that ends; the file stays, and says who has died.
Its name tells all: engine-snakemake-100@MACHINE.lock is held by the Snakemake of process 100 (on behalf of a DVC by its
keeper, equimodal.engines.keeper), engine-snakemake-100-230@MACHINE.lock by the process 230 that works for it.
"""

import contextlib
import fcntl
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from filelock import FileLock

FOLDER = Path(".equimodal/locks")
TAKING_SECONDS = 10  # who looks at a lock keeps it from being taken for an instant


@dataclass(frozen=True)
class Mark:
    """An engine at work in this folder, or one process that works for it."""

    engine: str
    pid: int  # of the engine; 0 if that is not known
    machine: str
    job: int | None = None

    @classmethod
    def read(cls, path: str | Path) -> Self | None:
        """What a mark's file name says; None if it is no mark's."""
        left, _, machine = Path(path).name.removesuffix(".lock").partition("@")
        try:
            _, engine, *numbers = left.split("-")
            pid, job = int(numbers[0]), int(numbers[1]) if numbers[1:] else None
        except (ValueError, IndexError):
            return None
        return cls(engine, pid, machine, job)

    @property
    def owner(self) -> Self:
        """The engine that the process works for."""
        return type(self)(self.engine, self.pid, self.machine)

    @property
    def path(self) -> Path:
        """Its file."""
        job = "" if self.job is None else f"-{self.job}"
        return FOLDER / f"engine-{self.engine}-{self.pid}{job}@{self.machine}.lock"

    @property
    def state(self) -> Literal["living", "dead", "unknown"]:
        """Whether its process lives; unknown if it has no file, or one of another machine: not every file system that
        machines share tells one of the other's locks.
        """
        host, _, boot = self.machine.partition("+")
        own_host, _, own_boot = machine().partition("+")
        try:
            with self.path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "living"
        except OSError:
            return "unknown"
        return "dead" if host == own_host or (boot and boot == own_boot) else "unknown"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path)
        lock.acquire(timeout=TAKING_SECONDS)
        try:
            yield
        finally:
            self.path.unlink(missing_ok=True)
            lock.release()


def machine() -> str:
    """Name of this machine, and of its present run: a container has names of its own, a restart keeps them."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        boot = ""
    return f"{platform.node() or 'unnamed'}+{boot}"


def marks() -> list[Mark]:
    """All marks here, also of those who have died."""
    found = (Mark.read(path) for path in sorted(FOLDER.glob("engine-*@*.lock")))
    return [mark for mark in found if mark is not None]


def sweep() -> list[Mark]:
    """The marks of those that live, or may; those of the dead are removed.

    A dead engine's stays while a process of it lives, and Snakemake's until the next Snakemake has seen to its lock.
    """
    states = {mark: mark.state for mark in marks()}
    left = [mark for mark, state in states.items() if state != "dead"]
    owners = {mark.owner for mark in left if mark.job is not None}
    for mark, state in states.items():
        if state == "dead" and (mark.job is not None or (mark.engine != "snakemake" and mark not in owners)):
            mark.path.unlink(missing_ok=True)
    return left


def orphans() -> list[Mark]:
    """Living processes whose engine is dead."""
    jobs = [mark for mark in marks() if mark.job is not None]
    return [mark for mark in jobs if mark.owner.state == "dead" and mark.state == "living"]


def wait_for_orphans() -> None:
    """Return once no process of a dead engine works here; says so in one line if that takes time.

    The engine's keeper ends them: each leaves its finished epochs and its unfinished outputs are not needed any more.
    """
    said = False
    while left := orphans():
        if not said:
            print(
                f"waiting for process {left[0].job} to end, which a {left[0].engine} that was killed has left",
                file=sys.stderr,
                flush=True,
            )
        said = True
        time.sleep(0.1)
