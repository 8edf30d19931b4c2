"""A features array under way, and which of its jobs are done, so that a killed stage goes on where it stopped."""

import contextlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from equimodal.store import atomic, disk_error, reserve

# Seconds between notes. What was done since the last one is done again after a kill.
INTERVAL = 5.0


class Journal:
    """An array [N, ...] in a folder of its own, and the jobs whose rows it holds: number -> what was said of them.

    Rows are forced onto the disk before their jobs are noted, so that a note is true after a power cut too.
    """

    def __init__(self, folder: Path) -> None:
        self.rows = folder / "rows.npy"
        self._notes = folder / "done.txt"
        self.done: dict[int, Any] = {}
        if self._notes.is_file():
            notes = map(_noted, self._notes.read_bytes().splitlines(keepends=True))
            self.done = dict(note for note in notes if note is not None)  # else the job is done again
            self._notes.write_text("".join(map(_line, self.done.items())), encoding="ascii")
        self._pending: dict[int, Any] = {}
        self._last = time.monotonic()

    def add(self, job: int, note: Any) -> None:
        """A job's rows are all written; `note` is what the next run must know of them, JSON-able."""
        self._pending[job] = note
        if time.monotonic() - self._last >= INTERVAL:
            self.flush()

    def flush(self) -> None:
        """Note what is done."""
        if self._pending:
            _force(self.rows)
            with open(self._notes, "a", encoding="ascii") as file:
                file.write("".join(map(_line, self._pending.items())))
            _force(self._notes)
        self.done.update(self._pending)
        self._pending = {}
        self._last = time.monotonic()

    def publish(self, target: Path) -> None:
        """Move the array to where it is declared."""
        with atomic(target) as scratch:
            shutil.move(self.rows, scratch)  # a renaming, unless the checkpoints lie on another disk


@contextlib.contextmanager
def journaled(
    folder: Path, key: str, shape: tuple[int, ...], dtype: str, target: Path
) -> Iterator[tuple[np.memmap, Journal]]:
    """The array and journal in `folder`: those of a killed run with the same `key`, else fresh ones (zeros).

    The folder is removed when the block succeeds and left to the next run when it does not.

    Args:
        key: what every row depends on; another key starts anew.
        target: what is being made, for messages.

    Raises:
        UserError: a full or read-only disk.
    """
    try:
        if not _fits(folder, key, shape, dtype):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            np.lib.format.open_memmap(folder / "rows.npy", mode="w+", dtype=np.dtype(dtype), shape=shape)
            reserve(folder / "rows.npy")
            (folder / "key.json").write_text(json.dumps(key), encoding="utf-8")  # last: it says that the array is whole
        journal = Journal(folder)
        try:
            yield np.lib.format.open_memmap(journal.rows, mode="r+"), journal
        except BaseException:
            with contextlib.suppress(OSError):  # the disk may be full, and this error is not the news
                journal.flush()
            raise
    except OSError as error:
        raise disk_error(error, target) from error
    shutil.rmtree(folder, ignore_errors=True)


def _fits(folder: Path, key: str, shape: tuple[int, ...], dtype: str) -> bool:
    """Whether a killed run left an array of this key."""
    try:
        if not (folder / "key.json").is_file() or json.loads((folder / "key.json").read_text(encoding="utf-8")) != key:
            return False
        array = np.load(folder / "rows.npy", mmap_mode="r")
    except (OSError, ValueError):
        return False
    return array.shape == shape and array.dtype == np.dtype(dtype)


def _line(note: tuple[int, Any]) -> str:
    """A job's note as it is written, after its checksum."""
    text = json.dumps(note)
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def _noted(line: bytes) -> tuple[int, Any] | None:
    """The note of a line; None if the line is cut off or damaged."""
    try:
        number, note = json.loads(line[9:])
        return (number, note) if _line((number, note)).encode() == line else None
    except (ValueError, TypeError):
        return None


def _force(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
