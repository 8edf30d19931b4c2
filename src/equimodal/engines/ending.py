"""What is said last: that one was interrupted, and by a Snakemake the line of each stage that failed."""

import atexit
import os
import signal
import sys
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any

INTERRUPTED = "interrupted: finished epochs are kept, the same command goes on from there"
LAST_WORDS = ("error: ", "interrupted: ", "terminated: ")  # which `equimodal` ends with
_interrupted = Event()
LINES = 40  # of a log that ends otherwise


def end_at_second_interruption() -> None:
    """Have a second Ctrl-C end this process at once and in one line; amid its ending, it would show a traceback.

    Of a Snakemake, jobs hear Ctrl-C too; the keeper ends those that do not, and the next Snakemake takes away the lock.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a script
        return

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, second)
        _interrupted.set()
        signal.default_int_handler(number, frame)

    def second(number: int, frame: FrameType | None) -> None:
        if os.getpid() == this:  # not a process that it forked
            os.write(2, f"{INTERRUPTED}\n".encode())
        os._exit(128 + number)

    this = os.getpid()
    signal.signal(signal.SIGINT, first)


def say_why(workflow: Any) -> None:
    """When this process ends, after all that Snakemake itself prints, say why the failed jobs of its `workflow` did."""
    logs = {str(log): job.rule.name for job in workflow.scheduler.failed for log in job.log}
    said = [last_words(Path(log), rule) for log, rule in sorted(logs.items())]
    text = INTERRUPTED if _interrupted.is_set() else "\n".join(dict.fromkeys(said))
    if text:
        atexit.register(lambda: print(text, file=sys.stderr))


def last_words(log: Path, rule: str) -> str:
    """The one line that a stage ended with and where its log lies; of another end, what the log ends with."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    except OSError:
        lines = []
    if lines and lines[-1].startswith(LAST_WORDS):
        return f"{lines[-1]} ({log})"
    if lines and lines[-1] == "KeyboardInterrupt":  # it had not yet begun
        return f"{INTERRUPTED} ({log})"
    if any(line.startswith("Traceback ") for line in lines):
        return "\n".join([*lines[-LINES:], f"error: {rule} broke down: {lines[-1]} ({log})"])
    return f"error: {rule} ended without saying why, perhaps killed for want of memory: see above, and {log}"
