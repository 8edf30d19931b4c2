"""docs/diagnosis.md: its example runs, and prints what the page says."""

import re
import runpy
from pathlib import Path

import pytest

from equimodal.diagnosis.measures.registry import MEASURES

NUMBER = re.compile(r"-?\d+\.\d+")


def test_the_pages_output_is_the_examples(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Line by line; numbers may differ by 0.05, as other processors round otherwise."""
    page = (root / "docs/diagnosis.md").read_text(encoding="utf-8")
    shown = page.partition("```text\n")[2].partition("\n```")[0].splitlines()
    runpy.run_path(str(root / "docs/examples/diagnose.py"))
    printed = capsys.readouterr().out.splitlines()
    assert [_words(line) for line in shown] == [_words(line) for line in printed]
    numbers = [[float(found) for line in lines for found in NUMBER.findall(line)] for lines in (shown, printed)]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.05)


def test_the_page_has_every_measure(root: Path) -> None:
    page = (root / "docs/diagnosis.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([\w-]+)`", row)]
    assert set(MEASURES) <= set(named)


def _words(line: str) -> str:
    return " ".join(NUMBER.sub("#", line).split())
