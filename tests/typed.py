"""A command as it is typed, in this process: a new one costs the seconds that torch takes to import (tests/test_cli.py
starts real ones).
"""

import os
import signal
import sys

import pytest

from equimodal.cli import main


def typed(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Its status, and what it said on stdout and stderr."""
    capfd.readouterr()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sys, "argv", ["equimodal", *words])
        patch.setattr(signal, "signal", lambda *args: None)
        patch.setattr(os, "environ", os.environ.copy())
        main()
    assert isinstance(stop.value.code, int)
    return (stop.value.code, *capfd.readouterr())
