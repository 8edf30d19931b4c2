"""Progress on stderr."""

import threading
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest

import aim_toys
import tiny_dataset
from equimodal import AIM, progress
from equimodal.stages import cost, evaluate, prototypes, reference, train, warmup


def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this test's stderr a terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)


def ticking(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    """The clock gives these, the last one for good."""
    clock: Iterator[float] = chain(seconds, repeat(seconds[-1]))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))


def test_a_log_gets_lines_with_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticking(monkeypatch, 0.0, 4.0, 8.0, 12.0, 16.0)
    assert list(progress.watched("abcd", 4, "audio features")) == list("abcd")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "audio features: 3 of 4 clips, 0.25 a second, 4 s left",
        "audio features: 4 of 4 clips, 0.25 a second, 0 s left",
    ]


def test_a_short_loop_leaves_no_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, 0.0, 1.0, 2.0)
    assert list(progress.watched("ab", 2, "prototypes", "steps")) == list("ab")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)
    assert list(progress.watched(range(3), 3, "visual features")) == [0, 1, 2]
    assert "visual features" in capsys.readouterr().err


def test_the_bar_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)
    before = threading.active_count()
    for _ in progress.watched(range(2), 2, "steps"):
        assert threading.active_count() == before


def test_what_is_not_shown_passes_in_silence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(monkeypatch)
    assert list(progress.watched(range(3), 3, "fit", shown=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_stages_that_may_take_long_say_how_far_they_are(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tiny_dataset.params()
    warmup.run(params, "tiny", "aim", 0)
    train.run(params, "tiny", "joint", 0)
    written = {}
    for interval in (1000.0, 0.0):  # no line, and a line an item
        monkeypatch.setattr(progress, "INTERVAL", interval)
        capsys.readouterr()
        prototypes.run(params, "tiny", "aim", 0)
        evaluate.run(params, "tiny", "joint", 0)
        said = capsys.readouterr().err
        written[said == ""] = [path.read_bytes() for path in sorted(Path("models").rglob("*")) if path.is_file()]
    for words in (
        "class means: 1 of 1 batches",
        "prototypes: 1 of 7 steps",
        "pass over train: 2 of 2 batches",
        "pass over test: 1 of 1 batches",
        "linear probe of audio: 4 of 4 penalties",
        "linear probe of visual: 4 of 4 penalties",
    ):
        assert words in said
    assert written.keys() == {True, False} and written[True] == written[False]
    reference.run(params, "tiny")
    cost.run(params, "tiny", "joint")
    assert "timing steps: 3 of 15 rounds at most" in capsys.readouterr().err


@pytest.mark.parametrize("shown", [True, False])
def test_the_library_shows_its_fit_on_a_terminal(
    shown: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(monkeypatch)
    model = aim_toys.build(("third",))
    aim = AIM(
        {name: encoder.blocks for name, encoder in model.encoders.items()},
        model.fusion,
        aim_toys.CLASSES,
        pool=lambda tokens: tokens.mean(1),
        affine_axis=2,
        dap={"steps": 3, "required_accuracy": 0.0},
        pdm={"steps": 2, "latent": 8},
    )
    inputs, labels = aim_toys.data(("third",), 24)
    aim.fit([(inputs, labels)], **({} if shown else {"progress": False}))
    said = capsys.readouterr().err
    assert all((words in said) == shown for words in ("class means", "prototypes"))
