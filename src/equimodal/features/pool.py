"""Jobs over worker processes: bounded memory, and no orphan, hang or traceback when a worker, the parent or the user ends it."""

import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from equimodal.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

# Jobs handed to a worker before their results are back: one to work on, and some milliseconds' worth of others, so that no worker idles on a
# busy machine until the parent gets its turn. Few enough for the pipes' buffers.
AHEAD = 8


def run(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, name: Callable[[Job], str], preload: Sequence[str] = ()) -> Iterator[Result]:
    """Yield `work(job)` for every job, in the order of completion.

    Not concurrent.futures: its workers outlive a killed parent, and it cannot tell which job a dead worker had. Workers are forked from a
    server that has imported `preload` and runs no thread: as safe as spawning them, but they share those libraries' memory and start in
    10 ms instead of a second.

    Args:
        work: picklable; runs in the workers.
        name: what to call a job in an error.

    Raises:
        UserError: a worker was killed (by whom and at which job), or `work` raised one.
        RuntimeError: `work` raised something else (its traceback).
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *preload])
    crew = [_Worker(context, work) for _ in range(min(workers, len(jobs)))]
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

    def __init__(self, context: Any, work: Callable[[Any], Any]) -> None:
        self.pipe, theirs = context.Pipe()
        self.given: deque[Any] = deque()
        self.process = context.Process(target=_serve, args=(work, theirs), daemon=True)
        self.process.start()
        theirs.close()  # so that the worker's death ends the pipe

    def give(self, jobs: Iterator[Any]) -> None:
        """Send the next job, if there is one."""
        for job in jobs:
            self.given.append(job)
            try:
                self.pipe.send(job)
            except OSError:
                pass  # the worker is gone: `take` says so
            return

    def take(self, name: Callable[[Any], str]) -> Any:
        """Receive a result."""
        try:
            error, result = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(timeout=5)
            raise UserError(
                f"a worker process died ({_ending(self.process.exitcode)}) while reading {name(self.given[0])}: "
                "free memory or lower runtime.workers and run again; if it dies at this file again, take the file out"
            ) from None
        self.given.popleft()
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        """Stop the process at once: whatever it does, nobody will read it."""
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _serve(work: Callable[[Any], Any], pipe: Connection) -> None:
    """The worker's loop, until the parent's end of the pipe is closed: by the parent, or by its death."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent answers it
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[Exception | None, Any] = (None, work(job))
        except (UserError, OSError) as error:
            answer = (error, None)
        except Exception:
            answer = (RuntimeError(f"in a worker process:\n{traceback.format_exc()}"), None)
        try:
            pipe.send(answer)
        except OSError:
            return


def _ending(code: int | None) -> str:
    if code is None:
        return "its pipe broke"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
