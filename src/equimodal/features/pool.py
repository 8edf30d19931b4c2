"""Jobs over worker processes: bounded memory,
and no orphan, hang or traceback when a worker, the parent or the user ends it.
"""

import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from equimodal.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

# Jobs handed to a worker before their results are back: one to work on, and some milliseconds' worth of others, so that
# no worker idles on a busy machine until the parent gets its turn. Few enough for the pipes' buffers.
AHEAD = 8


@dataclass(frozen=True)
class Limit(Generic[Job, Result]):
    """When a job is given up: decoders have been seen to loop for ever on a broken file."""

    seconds: Callable[[Job], float]
    """By the clock, so that waiting for ever ends too."""
    result: Callable[[Job], Result]
    """What stands for the result of a job that was given up."""


def run(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    name: Callable[[Job], str],
    preload: Sequence[str] = (),
    limit: Limit[Job, Result] | None = None,
) -> Iterator[Result]:
    """Yield `work(job)` for every job, in the order of completion.

    Not concurrent.futures: its workers outlive a killed parent, and it cannot tell which job a dead worker had.
    Not pebble (5.2.3): its workers share one pipe under a lock. Of four workers killed while they sent 12 MB, two were
    reported as `All workers expired` without a job, one of them after 120 s (here 4 of 4 with the job, in 0.2 s). A job
    that loops in C is ended 3 s after its limit (20 jobs, two of them such, limit 0.3 s: 7.0 s, here 1.3 s). Both start
    as fast and end with their parent; 2,000 empty jobs take 1.9 s there, 0.9 s here.

    Workers are forked from a server that has imported `preload` and runs no thread: as safe as spawning them, but they
    share those libraries' memory and start in 10 ms instead of a second.

    Args:
        work: picklable; runs in the workers.
        name: what to call a job in an error.
        limit: ends the worker of a job that takes too long, and goes on with a fresh one; None waits for ever.

    Raises:
        UserError: a worker was killed (by whom and at which job), or `work` raised one.
        RuntimeError: `work` raised something else (its traceback).
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *preload])
    crew = [_Worker(context, work, limit) for _ in range(min(workers, len(jobs)))]
    left = iter(jobs)
    try:
        for _ in range(AHEAD):
            for worker in crew:
                worker.give(left)
        while busy := {worker.pipe: worker for worker in crew if worker.given}:
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                result = worker.take(name)
                worker.give(left)
                yield result
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """A process, and the parent's end of its pipe."""

    def __init__(self, context: Any, work: Callable[[Any], Any], limit: Limit[Any, Any] | None) -> None:
        self.context, self.work, self.limit = context, work, limit
        self.given: deque[Any] = deque()
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = self.context.Pipe()
        self.process = self.context.Process(target=_serve, args=(self.work, theirs), daemon=True)
        self.process.start()
        theirs.close()  # so that the worker's death ends the pipe

    def give(self, jobs: Iterator[Any]) -> None:
        """Send the next job, if there is one."""
        for job in jobs:
            self.given.append(job)
            self._send(job)
            return

    def _send(self, job: Any) -> None:
        try:
            self.pipe.send((job, self.limit.seconds(job) if self.limit else 0.0))
        except OSError:
            pass  # the worker is gone: `take` says so

    def take(self, name: Callable[[Any], str]) -> Any:
        """Receive a result."""
        try:
            error, result = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(timeout=5)
            if self.limit is not None and self.process.exitcode == -signal.SIGALRM:
                return self._give_up()
            raise UserError(
                f"a worker process died ({_ending(self.process.exitcode)}) while reading {name(self.given[0])}: "
                "free memory or lower runtime.workers and run again; if it dies at this file again, take the file out"
            ) from None
        self.given.popleft()
        if error is not None:
            raise error
        return result

    def _give_up(self) -> Any:
        """The job in hand took too long: its stand-in, and a fresh process for the others."""
        assert self.limit is not None
        late = self.given.popleft()
        self.end()
        self._start()
        for job in self.given:
            self._send(job)
        return self.limit.result(late)

    def end(self) -> None:
        """Stop the process at once: whatever it does, nobody will read it."""
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _serve(work: Callable[[Any], Any], pipe: Connection) -> None:
    """The worker's loop, until the parent's end of the pipe is closed: by the parent, or by its death."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent answers it
    # The system ends the process: Python's own handlers wait until a C function returns
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while True:
        try:
            job, seconds = pipe.recv()
        except (EOFError, OSError):
            return
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            answer: tuple[Exception | None, Any] = (None, work(job))
        except (UserError, OSError) as error:
            answer = (error, None)
        except Exception:
            answer = (RuntimeError(f"in a worker process:\n{traceback.format_exc()}"), None)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        try:
            pipe.send(answer)
        except OSError:
            return


def _ending(code: int | None) -> str:
    if code is None:
        return "its pipe broke"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
