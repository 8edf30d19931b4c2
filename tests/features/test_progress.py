"""Progress on stderr."""

import pytest

from equimodal.features import progress


def test_a_log_gets_lines_with_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 4.0, 8.0, 12.0, 16.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert list(progress.watched("abcd", 4, "audio features")) == list("abcd")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "audio features: 3 of 4 clips, 0 a second, 4 s left",
        "audio features: 4 of 4 clips, 0 a second, 0 s left",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress.watched(range(3), 3, "visual features")) == [0, 1, 2]
