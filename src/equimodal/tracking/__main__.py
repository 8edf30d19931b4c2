"""The child: reads JSON lines from a stage and writes them to MLflow.

Says `ready`, or one line of warning, and nothing else.
"""

import contextlib
import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from equimodal.tracking import taken, warning
from equimodal.tracking.info import without_password

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a dead server costs seconds, not the default's minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "GIT_PYTHON_REFRESH": "quiet",
}
LAST_TRIES = 3
HEARD_SECONDS = 3.0  # that a stage in its ending has to read a warning


class Feed:
    """Applies a stage's messages to its run; what fails is tried again with the next message."""

    def __init__(self, uri: str, stage: psutil.Process) -> None:
        from equimodal.tracking.info import RunInfo
        from equimodal.tracking.runs import Run, Runs

        self._uri = uri
        self._stage = stage
        self._runs: Runs | None = None
        self._run: Run | None = None
        self._info = RunInfo
        self._waiting: list[dict[str, Any]] = []
        self.ended = False
        self.error: Exception | None = None

    def start(self, message: dict[str, Any]) -> None:
        """Open the run; an error here is final."""
        from equimodal.tracking.runs import Runs

        self._runs = Runs(self._uri)
        self._run = self._runs.open(self._info(**message["run"]), message["time"])
        self._run.running()

    def publish(self, message: dict[str, Any]) -> None:
        """Publish one result from its files, and the warm-up and prototypes that it shares with others."""
        from equimodal.tracking.rebuild import rebuild

        for method in message["methods"]:
            _, problems = rebuild(self._uri, only=(message["dataset"], method))
            for problem in problems:
                raise RuntimeError(problem)

    def take(self, message: dict[str, Any]) -> None:
        """Apply a message and those that still wait, in order."""
        self._waiting.append(message)
        try:
            while self._waiting:
                self._apply(self._waiting[0])
                self._waiting.pop(0)
            self.error = None
        except Exception as error:  # a locked database may be free at the next epoch
            self.error = error

    def finish(self) -> None:
        """The input has ended: a run without `end` was killed."""
        if not self.ended:
            self.take({"type": "end", "status": "KILLED", "metrics": {}, "time": None})
        for attempt in range(LAST_TRIES):
            if self._waiting:
                time.sleep(1 + attempt)
                self.take({"type": "retry"})

    def _apply(self, message: dict[str, Any]) -> None:
        assert self._run is not None
        match message["type"]:
            case "epoch":
                metrics = message["metrics"] | self._system()
                self._run.log([(message["epoch"], metrics, message["time"])])
            case "artifact":
                self._run.artifact(Path(message["path"]), message["folder"])
            case "end":
                self.ended = True
                if message["metrics"]:
                    self._run.log(
                        [(0, {f"final/{name}": value for name, value in message["metrics"].items()}, message["time"])]
                    )
                self._run.end(message["status"], message["time"])
                if message["status"] == "FINISHED" and self._run.info.stage == "train":
                    self._log_model()

    def _system(self) -> dict[str, float]:
        """What the stage's process takes now, under the names that MLflow shows as system metrics: percent of one core
        since the last epoch, and memory.
        """
        try:
            cpu, memory = self._stage.cpu_percent(), self._stage.memory_info().rss
        except psutil.Error:
            memory = 0
        if not memory:  # it has ended: its last epochs are written after it
            return {}
        return {"system/cpu_utilization_percentage": cpu, "system/memory_usage_megabytes": memory / 1e6}

    def _log_model(self) -> None:
        """The training's weights, which lie in its files now."""
        from equimodal.tracking.files import training_of
        from equimodal.tracking.models import Models

        assert self._run is not None and self._runs is not None
        weights = training_of(Path(), self._run.info).weights
        if weights is not None:
            Models(self._runs).log(self._run, weights)


class Report:
    """What the child says to its stage: `ready`, or one warning; itself on stderr where the stage has ended before."""

    def __init__(self, uri: str, once: int | None) -> None:
        self._uri = without_password(uri)
        self._once = once
        self._pipe = os.dup(1)
        self._terminal = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(null, stream)  # mlflow prints hints
        self._warning: str | None = None

    def ready(self) -> None:
        """The run is open."""
        self._say("ready")

    def warn(self, error: Exception) -> None:
        """Hand the first error on; further ones are not told."""
        if self._warning is None:
            self._warning = _line(error)
            self._say(self._warning)

    def close(self) -> None:
        """See that somebody has read the warning."""
        deadline = time.monotonic() + HEARD_SECONDS
        while self._warning is not None and self._once is not None and time.monotonic() < deadline:
            if self._unread():
                if taken(self._once):
                    os.write(self._terminal, f"{warning(self._uri, self._warning)}\n".encode())
                return
            time.sleep(0.05)

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the stage has ended and no longer listens
            os.write(self._pipe, f"{text}\n".encode())

    def _unread(self) -> bool:
        """Whether the stage has closed its end."""
        watched = select.poll()
        watched.register(self._pipe, 0)
        return bool(watched.poll(0))


def main() -> None:
    """Serve standard input until it ends."""
    report = Report(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else None)
    os.nice(5)  # the training goes first
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        _serve(sys.argv[1], report)
    except Exception as error:  # never a traceback on a training's terminal
        report.warn(error)
    report.close()


def _serve(uri: str, report: Report) -> None:
    feed = Feed(uri, psutil.Process(os.getppid()))
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "start":
            feed.start(message)
            report.ready()
        elif message["type"] == "publish":
            feed.publish(message)
            report.ready()
            return
        else:
            feed.take(message)
            if feed.error is not None:
                report.warn(feed.error)
    feed.finish()
    if feed.error is not None:
        report.warn(feed.error)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


if __name__ == "__main__":
    main()
