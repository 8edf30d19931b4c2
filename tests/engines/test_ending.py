"""What is said last: why a stage failed, and that one was interrupted."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from equimodal.engines.ending import INTERRUPTED, last_words

UNSAID = "error: train ended without saying why, perhaps killed for want of memory: see above, and LOG"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch 0\nerror: no raw files: see docs\n", ["error: no raw files: see docs (LOG)"]),
        (f"epoch 0\n{INTERRUPTED}\n", [f"{INTERRUPTED} (LOG)"]),
        ("Traceback (most recent call last):\n  x\nKeyboardInterrupt\n", [f"{INTERRUPTED} (LOG)"]),
        (
            "epoch 0\nepoch 1\n",
            ["error: train ended without saying why, perhaps killed for want of memory: see above, and LOG"],
        ),
        ("", ["error: train ended without saying why, perhaps killed for want of memory: see above, and LOG"]),
        (
            "Traceback (most recent call last):\n  x\nValueError: y\n",
            [
                "Traceback (most recent call last):",
                "  x",
                "ValueError: y",
                "error: train broke down: ValueError: y (LOG)",
            ],
        ),
    ],
)
def test_the_last_words_of_a_stage(text: str, said: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(text)
    assert last_words(log, "train").splitlines() == [line.replace("LOG", str(log)) for line in said]


def test_a_stage_without_a_log_has_last_words(tmp_path: Path) -> None:
    assert "train ended without saying why" in last_words(tmp_path / "none", "train")


def test_a_second_interruption_ends_in_one_line() -> None:
    code = (
        "import time\nfrom equimodal.engines.ending import end_at_second_interruption\nend_at_second_interruption()\n"
        "print(flush=True)\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print(flush=True)\n"
        "    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(2):
        assert process.stdout.readline() == "\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == f"{INTERRUPTED}\n"
    assert process.returncode == 130
