"""What a stage says to MLflow while it runs.

This package is the only place that imports mlflow, and only in a child process.

A stage writes JSON lines to `python -m equimodal.tracking`; it never imports mlflow (2 to 5 s), never waits for a
database and never fails because of one. Whatever is lost on the way,
`equimodal track` publishes again from the stage's files.
"""

import contextlib
import json
import math
import os
import select
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from equimodal.params import Params
from equimodal.tracking import clock
from equimodal.tracking.info import RunInfo, sqlite_file, without_password

__all__ = ["RunInfo", "Tracker", "publish"]

PIPE_BYTES = (
    1 << 20
    # Linux's limit without privileges; a short AIM run says more than the usual 64 KiB
    # before its child has imported mlflow
)
BACKLOG_BYTES = 16_000_000  # kept for a child that is still importing mlflow or waits for the database


class Tracker:
    """One live run: epochs, files, and how it ended. Every method returns at once, and none raises.

    Used as a context manager it ends the run as FINISHED, as KILLED after Ctrl-C, as FAILED after any other exception.
    If this process is killed, the child sees the end of its input and marks the run KILLED. With `tracking.enabled:
    false` every method does nothing.
    """

    def __init__(self, uri: str, child: "subprocess.Popen[bytes] | None", once: int | None = None) -> None:
        """`once`: a pipe with one byte, which the process takes that warns, this one or its child."""
        self._uri = without_password(uri)
        self._once = once
        self._file = sqlite_file(uri)
        self._known = _identity(self._file)
        # A local file is slow only while mlflow is imported, which is no reason to worry
        self._remote = not uri.startswith("sqlite:")
        self._child = child
        if child is not None and child.stdin is not None:
            _widen(child.stdin.fileno())
        self._unsent = bytearray()
        self._heard = b""
        self._ready = False
        self._warned = False

    @classmethod
    def start(cls, params: Params, run: RunInfo, started: int | None = None) -> Self:
        """Open the run of `run.key`: a new one, or the one of this key that was broken off.

        `started`: when the stage began, in milliseconds since 1970; now if None. The child opens the run seconds later.
        """
        tracker = cls._spawn(params)
        tracker._send({"type": "start", "run": run.as_dict(), "time": clock.now() if started is None else started})
        return tracker

    @classmethod
    def _spawn(cls, params: Params) -> Self:
        uri = params.tracking.uri
        if not params.tracking.enabled:
            return cls(uri, None)
        try:
            once, filled = os.pipe()
            os.write(filled, b"1")
            os.close(filled)
            child = subprocess.Popen(
                [sys.executable, "-m", "equimodal.tracking", uri, str(once)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if _outlives(2) else subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
                start_new_session=True,  # Ctrl-C reaches the stage only: the child lives long enough to mark the run
                pass_fds=[once],
            )
            assert child.stdin is not None and child.stdout is not None
            os.set_blocking(child.stdin.fileno(), False)
            os.set_blocking(child.stdout.fileno(), False)
        except OSError as error:
            tracker = cls(uri, None)
            tracker._warn(f"no tracking process could be started ({error})")
            return tracker
        return cls(uri, child, once)

    def epoch(self, epoch: int, metrics: Mapping[str, Any], seconds: float | None = None) -> None:
        """Log one epoch: flat names to numbers (None and NaN are left out); `seconds` is what it took."""
        timing = {} if seconds is None else {"time/epoch_seconds": seconds}
        self._send({"type": "epoch", "epoch": epoch, "metrics": _numbers({**metrics, **timing}), "time": clock.now()})

    def artifact(self, path: str | Path, folder: str = "") -> None:
        """Attach a file; it must stay in place until the run has ended."""
        self._send({"type": "artifact", "path": str(path), "folder": folder})

    def end(self, metrics: Mapping[str, Any] | None = None, status: str = "FINISHED") -> None:
        """End the run as FINISHED, FAILED or KILLED; final `metrics` are shown as final/<name>."""
        self._send({"type": "end", "status": status, "metrics": _numbers(metrics or {}), "time": clock.now()})

    def close(self, timeout: float = 2.0) -> None:
        """Give the child `timeout` seconds to write what it has; then leave it to finish alone."""
        if self._child is None:
            return
        deadline = time.monotonic() + timeout
        try:
            assert self._child.stdin is not None
            while self._unsent and self._child is not None and time.monotonic() < deadline:
                select.select([], [self._child.stdin], [], 0.1)
                self._flush()
            if self._child is None:
                return
            if self._unsent:
                self._warn("the database is too slow for what was logged, some of it is lost")
            self._child.stdin.close()
            while self._child.poll() is None and time.monotonic() < deadline:
                self._listen()
                time.sleep(0.02)
            self._listen()
            if self._child.returncode is None and not self._ready and self._remote and timeout > 0:
                self._warn("no answer yet")
            self._look()
        except (OSError, ValueError) as error:
            self._lose(f"the tracking process is gone ({error})")
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.end(status="FAILED" if issubclass(kind, Exception) else "KILLED")
        else:
            self.end()
        self.close()

    def _send(self, message: dict[str, Any]) -> None:
        if self._child is None:
            return
        try:
            self._unsent += json.dumps(message).encode() + b"\n"
            self._flush()
            self._listen()
        except (OSError, TypeError, ValueError) as error:
            self._lose(f"the tracking process is gone ({error})")
        if len(self._unsent) > BACKLOG_BYTES:
            self._lose("the database is too slow for what was logged")

    def _flush(self) -> None:
        """Write as much as the pipe takes now."""
        assert self._child is not None and self._child.stdin is not None
        while self._unsent:
            try:
                written = os.write(self._child.stdin.fileno(), self._unsent[:65536])
            except BlockingIOError:
                return
            except BrokenPipeError:
                self._listen()
                self._lose("the tracking process ended early")
                return
            del self._unsent[:written]

    def _listen(self) -> None:
        """Read what the child reports: `ready` once its run is open, or its one warning."""
        if self._child is None or self._child.stdout is None:
            return
        try:
            while piece := os.read(self._child.stdout.fileno(), 4096):
                self._heard += piece
        except BlockingIOError:
            pass
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            if line == b"ready":
                self._ready = True
                self._known = self._known or _identity(self._file)
            else:
                self._warn(line.decode(errors="replace"))

    def _look(self) -> None:
        """Warn of what the child cannot tell, or would tell too late: it may have to be imported still."""
        if self._file is None or self._warned or self._child is None:
            return
        if self._known is not None and _identity(self._file) != self._known:
            self._warn(f"{self._file} was deleted or replaced meanwhile")
        elif self._child.returncode is None and self._known is not None:
            from equimodal.tracking.database import trouble

            if (why := trouble(self._file)) is not None:
                self._warn(why)

    def _lose(self, reason: str) -> None:
        self._warn(reason)
        self._forget()

    def _forget(self) -> None:
        """Close our ends; the child goes on alone with what it has."""
        child, self._child = self._child, None
        self._unsent.clear()
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass
        if self._once is not None:
            os.close(self._once)
            self._once = None
        child.returncode = child.poll() or 0  # it may outlive us on purpose: no ResourceWarning

    def _warn(self, reason: str) -> None:
        if not self._warned and (self._once is None or taken(self._once)):
            print(warning(self._uri, reason), file=sys.stderr)
        self._warned = True


def warning(uri: str, reason: str) -> str:
    """The one line that a stage says of tracking that does not work."""
    return f"warning: MLflow tracking ({uri}): {reason}; the stage goes on, `equimodal track` publishes it later"


def taken(once: int) -> bool:
    """Whether it is this process's turn to warn: true for the first that asks, the stage or its child."""
    try:
        return os.read(once, 1) != b""
    except OSError:
        return False


def publish(params: Params, dataset: str, method: str, timeout: float = 0.0) -> None:
    """Publish one result from its files: the parent run with means, spreads and figures,
    and every child that was not live.

    For the last stage of a result. With `timeout` 0 nothing is waited for:
    the child works on after this process has ended.
    """
    tracker = Tracker._spawn(params)
    owners = (
        {params.warmup_of(dataset, method), params.fit_of(dataset, method)}
        if params.family(method) == "from-warmup"
        else set()
    )
    tracker._send({"type": "publish", "dataset": dataset, "methods": [*sorted(owners - {method}), method]})
    tracker.close(timeout)


def _outlives(stream: int) -> bool:
    """Whether a child may keep our terminal or file to warn there after us: who reads a pipe would wait for it."""
    try:
        mode = os.fstat(stream).st_mode
    except OSError:
        return False
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


def _identity(path: Path | None) -> tuple[int, int] | None:
    """What tells a file from another one at its place; None if there is none."""
    try:
        return None if path is None else (path.stat().st_dev, path.stat().st_ino)
    except OSError:
        return None


def _widen(pipe: int) -> None:
    """Let the pipe hold a whole run where the system allows it,
    so that a stage may end before its child has read anything.
    """
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among `metrics`."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if math.isfinite(number):
            found[name] = number
    return found
