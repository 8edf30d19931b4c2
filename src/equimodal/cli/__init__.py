"""The command line: one subcommand per stage, and those for people. Thin, and quick to start: torch and MLflow are
imported by stages.
"""

import signal
import sys
from pathlib import Path
from types import FrameType

import typer

# Each registers its commands, in the order of the help.
# isort: off
from equimodal.cli import use  # noqa: F401
from equimodal.cli import workflow  # noqa: F401
from equimodal.cli import stages  # noqa: F401

# isort: on
from equimodal.cli.program import app
from equimodal.engines.ending import INTERRUPTED, end_at_second_interruption
from equimodal.errors import UserError

__all__ = ["app", "main"]


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Entry point: a UserError is one line and status 2; an interruption one line and 130 or 143; anything else is a
    defect and shows itself.
    """
    signal.signal(signal.SIGTERM, _terminated)
    end_at_second_interruption()
    try:
        status = app(standalone_mode=False)
    except UserError as error:
        _quit(f"error: {error}", 2)
    except (typer.Abort, KeyboardInterrupt):
        status = 130
    except SystemExit as stop:
        if stop.code == 128 + signal.SIGTERM:
            _quit("terminated: finished epochs are kept, the same command goes on from there", 143)
        raise
    except OSError as error:
        from equimodal.store import disk_error

        known = disk_error(error, Path(error.filename or "a file"))
        if not isinstance(known, UserError):
            raise
        _quit(f"error: {known}", 2)
    except Exception as error:
        # Without standalone mode the parser raises its complaints (an unknown option, ...) instead of printing them.
        if not hasattr(error, "show") or not hasattr(error, "exit_code"):
            raise
        error.show()
        sys.exit(error.exit_code)
    if status == 130:  # the parser turns the interruption into this status
        _quit(INTERRUPTED, 130)
    sys.exit(status or 0)


def _quit(line: str, status: int) -> None:
    print(line, file=sys.stderr)
    sys.exit(status)
