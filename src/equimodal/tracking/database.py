"""The SQLite file behind MLflow, made once and made whole.

Processes that open a fresh file together run MLflow's schema migrations into each other and leave a database that no
later process can open (measured with mlflow 3.17). So the first one, under a lock, migrates a scratch file and renames
it; the others find it ready.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from equimodal.tracking.info import sqlite_file

LOCK_SECONDS = 180.0  # making a database takes 8 s of a core, and the trainings have the cores first
BUSY_SECONDS = 10.0
LOOK_SECONDS = 0.5  # that a stage waits for the database when it ends


@contextmanager
def locked(uri: str) -> Iterator[None]:
    """Hold what makes get-or-create safe: one lock per database, next to it; for a server, one in this project.

    Raises:
        RuntimeError: another process held it for `LOCK_SECONDS`.
    """
    path = sqlite_file(uri)
    lock = Path(".equimodal/tracking.lock") if path is None else path.with_name(path.name + ".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        # A singleton may be taken again by who holds it: replacing a run happens while opening one.
        with FileLock(lock, is_singleton=True).acquire(timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise RuntimeError(f"{lock} is held by another process for over {LOCK_SECONDS:.0f} s") from None


def prepare(uri: str) -> None:
    """Make the database if it is absent, and see that it can be written. Call it inside `locked`.

    Raises:
        RuntimeError: not a database, locked by another program, or its folder cannot be written.
    """
    path = sqlite_file(uri)
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.stat().st_size == 0:
        _create(path)
        return
    if (why := trouble(path, BUSY_SECONDS)) is not None:
        raise RuntimeError(why)


def trouble(path: Path, seconds: float = LOOK_SECONDS) -> str | None:
    """Why the database cannot be written now, and what to do; None if it can, or if there is none yet."""
    try:
        _write_ahead(path, seconds)
    except sqlite3.DatabaseError as error:
        cures = {"locked": "close the program that writes it", "readonly": "allow writing to it and to its folder"}
        cure = next((cure for word, cure in cures.items() if word in str(error)), None)
        return f"{path}: {error}; {cure or 'move it away: `equimodal track` makes a new one'}"
    return None


def _create(path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as folder:
        scratch = Path(folder).resolve() / path.name
        command = [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{scratch}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"mlflow could not make {path}: {last}")
        _write_ahead(scratch)
        os.replace(scratch, path)


def _write_ahead(path: Path, seconds: float = BUSY_SECONDS) -> None:
    """Write-ahead logging (the file remembers it):
    readers, like `mlflow ui`, and writers no longer wait for each other.
    """
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=seconds)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
    finally:
        connection.close()
