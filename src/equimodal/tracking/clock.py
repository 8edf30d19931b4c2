"""When stages ran, as .equimodal/times/KEY.json: {"start": ..., "end": ...} in milliseconds since 1970, and for some
{"work": {"cpu" | "cuda": seconds}}.

A stage's declared outputs know no clock, or no two runs would give the same bytes. So its times lie beside them, in a
small file that no engine declares, named after the stage's content key. MLflow's runs get their start and end from it,
and stage cost what a fit took.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from equimodal.errors import UserError
from equimodal.store import write_json

FOLDER = Path(".equimodal/times")

_begun: ContextVar[int | None] = ContextVar("begun", default=None)


def now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return time.time_ns() // 1_000_000


@contextlib.contextmanager
def command() -> Iterator[None]:
    """A stage run by the command line: it began here, before it imported torch."""
    token = _begun.set(now())
    try:
        yield
    finally:
        _begun.reset(token)


def begun() -> int:
    """When the stage of this command began; now, if it was called as a function."""
    known = _begun.get()
    return now() if known is None else known


def start(key: str, goes_on: bool = False) -> int:
    """Note that the stage of this key began, and return when. One that goes on after a kill keeps the first start."""
    first = _times(Path(), key).get("start") if goes_on else None
    times = {"start": begun() if first is None else first}
    _write(key, times)
    return times["start"]


def end(key: str, started: int, work: dict[str, float] | None = None) -> None:
    """Note that the stage of this key has written its outputs.

    Args:
        work: seconds that it worked on a type of device, by that device's stopwatch.
    """
    _write(key, {"start": started, "end": max(now(), started + 1), **({"work": work} if work else {})})


def span(root: Path, key: str) -> tuple[int, int] | None:
    """(start, end) of the stage that last ended with this key below `root`; None if that is not known."""
    times = _times(root, key)
    return (times["start"], times["end"]) if "end" in times else None


def work(root: Path, key: str, device: str) -> float | None:
    """Seconds that the stage of this key last worked below `root` on a type of device; None if that is not known."""
    found = _read(root, key).get("work")
    seconds = found.get(device) if isinstance(found, dict) else None
    return float(seconds) if isinstance(seconds, int | float) else None


def _times(root: Path, key: str) -> dict[str, int]:
    found = _read(root, key)
    try:
        return {name: int(found[name]) for name in ("start", "end") if name in found}
    except (ValueError, TypeError):
        return {}


def _read(root: Path, key: str) -> dict[str, Any]:
    """{} where there is no such file, or it is damaged."""
    try:
        found = json.loads((root / FOLDER / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(key: str, times: dict[str, Any]) -> None:
    # Like all of tracking: a stage that has its outputs does not fail because of this.
    with contextlib.suppress(OSError, UserError):
        write_json(FOLDER / f"{key}.json", times)
