"""The stage's side: it never waits, never raises, warns once. No mlflow here."""

import ast
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from equimodal.params import Params
from equimodal.settings.training import TrackingSettings
from equimodal.tracking import RunInfo, Tracker
from equimodal.tracking.info import without_password

INFO = RunInfo("toy", "joint", "train", "k", "sample", 0)


def params_at(uri: str, enabled: bool = True) -> Params:
    return Params.model_construct(tracking=TrackingSettings(uri=uri, enabled=enabled))


def fake(program: str, uri: str = "sqlite:///x.db") -> Tracker:
    """A tracker whose child is another program."""
    import os

    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdin is not None and child.stdout is not None
    os.set_blocking(child.stdin.fileno(), False)
    os.set_blocking(child.stdout.fileno(), False)
    return Tracker(uri, child)


def use(tracker: Tracker, epochs: int = 3) -> float:
    """Log some epochs and end; the longest time one call took, in seconds."""
    longest = 0.0
    for epoch in range(epochs):
        begin = time.monotonic()
        tracker.epoch(epoch, {f"m{number}": 0.5 for number in range(200)})
        longest = max(longest, time.monotonic() - begin)
    tracker.artifact("nothing.json")
    tracker.end({"best": float("nan")})
    return longest


def test_disabled_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a child was started"))
    with Tracker.start(params_at("sqlite:///mlflow.db", enabled=False), INFO) as tracker:
        use(tracker)
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr().err == ""


def test_a_child_that_reads_nothing_never_blocks_and_is_left() -> None:
    tracker = fake("import time; time.sleep(60)")
    child = tracker._child
    assert child is not None
    assert use(tracker, epochs=200) < 0.5
    begin = time.monotonic()
    tracker.close(0.5)
    assert time.monotonic() - begin < 3
    child.kill()


def test_a_stage_may_end_before_its_child_has_read_anything(tmp_path: Path) -> None:
    """A short AIM run logs more than 64 KiB while its child still imports mlflow:
    nothing of it may be lost, the end least of all.
    """
    copy = tmp_path / "seen"
    tracker = fake(f"import sys, time; time.sleep(2); open({str(copy)!r}, 'w').write(sys.stdin.read())")
    for epoch in range(40):
        tracker.epoch(epoch, {f"depth4/audio/metric_{i}": 0.123456789 for i in range(135)})
    tracker.end()
    tracker.close(0.5)
    deadline = time.monotonic() + 20
    # the child goes on alone: there is nothing to wait for but its file
    while not copy.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.2)
    lines = copy.read_text().splitlines()
    assert len(copy.read_text()) > 1 << 16 and len(lines) == 41 and '"end"' in lines[-1]


def test_a_dead_child_warns_once_with_its_own_words(capfd: pytest.CaptureFixture[str]) -> None:
    tracker = fake("print('OSError: disk on fire')")
    assert tracker._child is not None
    tracker._child.wait(20)
    use(tracker)
    tracker.close()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and "disk on fire" in lines[0] and "equimodal track" in lines[0]


def test_messages_reach_the_child_whole_and_in_order(tmp_path: Path) -> None:
    copy = tmp_path / "seen"
    tracker = fake(f"import sys, time; time.sleep(0.5); open({str(copy)!r}, 'w').write(sys.stdin.read())")
    use(tracker, epochs=100)  # about 300 KB, more than a pipe holds
    tracker.close(20)
    messages = [ast.literal_eval(line) for line in copy.read_text().splitlines()]
    assert [m["epoch"] for m in messages[:100]] == list(range(100)) and all(
        len(m["metrics"]) == 200 for m in messages[:100]
    )
    assert [m["type"] for m in messages[100:]] == ["artifact", "end"] and messages[-1]["metrics"] == {}


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_the_status_tells_how_the_stage_ended(tmp_path: Path, error: type[BaseException] | None, status: str) -> None:
    copy = tmp_path / "seen"
    tracker = fake(f"import sys; open({str(copy)!r}, 'w').write(sys.stdin.read())")
    try:
        with tracker:
            if error is not None:
                raise error
    except BaseException as raised:
        assert type(raised) is error
    assert ast.literal_eval(copy.read_text())["status"] == status


@pytest.mark.parametrize("broken", ["missing mlflow", "not a database", "no folder"])
def test_what_is_broken_is_one_warning(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    uri, words = f"sqlite:///{tmp_path}/mlflow.db", "not a database"
    if broken == "missing mlflow":
        (tmp_path / "mlflow.py").write_text("raise ModuleNotFoundError('No module named mlflow')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        words = "No module named mlflow"
    elif broken == "not a database":
        (tmp_path / "mlflow.db").write_text("something else" * 100)
    else:
        uri, words = "sqlite:////proc/nothing/mlflow.db", "/proc/nothing"
    tracker = Tracker.start(params_at(uri), INFO)
    use(tracker)
    tracker.close(60)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and words in lines[0]


SLOW = "import time; time.sleep(60)"  # still imports mlflow when the stage ends
OPEN = "print('ready', flush=True); import time; time.sleep(60)"  # still writes when the stage ends


@pytest.mark.parametrize("broken", ["deleted", "replaced", "locked", "no database", "gone before"])
@pytest.mark.parametrize("program", [SLOW, OPEN], ids=["slow child", "open run"])
def test_what_happens_to_the_database_meanwhile_is_one_warning(
    program: str, broken: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mlflow.db"
    if broken != "gone before":
        sqlite3.connect(path).execute("PRAGMA journal_mode=WAL")
    tracker = fake(program, f"sqlite:///{path}")
    child = tracker._child
    assert child is not None
    if program == OPEN:
        while not tracker._ready:
            tracker._listen()
    if broken == "deleted":
        path.unlink()
    elif broken == "replaced":
        (tmp_path / "other").write_bytes(path.read_bytes())
        (tmp_path / "other").replace(path)
    elif broken == "locked":
        holder = sqlite3.connect(path)
        holder.execute("BEGIN IMMEDIATE")
    elif broken == "no database":
        path.write_bytes(b"something else" * 100)
    use(tracker)
    tracker.close(0.0)
    tracker.close(0.0)
    child.kill()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == (broken != "gone before"), lines
    words = {"no database": "not a database", "locked": "locked"}.get(broken, "deleted or replaced")
    assert all(words in line and "`equimodal track`" in line for line in lines)


def test_a_child_warns_itself_when_its_stage_has_ended(tmp_path: Path) -> None:
    stage = (
        "from equimodal.tracking import RunInfo, Tracker\nfrom equimodal.params import Params\n"
        "from equimodal.settings.training import TrackingSettings\n"
        "params = Params.model_construct(tracking=TrackingSettings(uri='sqlite:////proc/nothing/mlflow.db'))\n"
        "tracker = Tracker.start(params, RunInfo('toy', 'joint', 'train', 'k', 'sample', 0))\n"
        "tracker.end()\ntracker.close(0.0)\n"
    )
    said = tmp_path / "said"
    with said.open("w") as file:
        subprocess.run([sys.executable, "-c", stage], stderr=file, check=True)
    deadline = time.monotonic() + 60
    while not said.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    (line,) = said.read_text().splitlines()
    assert "/proc/nothing" in line and "`equimodal track`" in line


def test_addresses_are_shown_without_credentials() -> None:
    assert (
        without_password("https://me:secret@host:5000/x") == "https://host:5000/x"
        and without_password("sqlite:///mlflow.db") == "sqlite:///mlflow.db"
    )


def test_only_this_package_imports_mlflow_and_its_parent_side_does_not(root: Path) -> None:
    importers = set()
    for path in (root / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            if any(name.partition(".")[0] == "mlflow" for name in names):
                importers.add(path.parent.name)
    assert importers == {"tracking"}
    heavy = (
        "import sys, equimodal.tracking, equimodal.stages.track; assert not {'mlflow', 'torch', 'pandas'} &"
        " set(sys.modules), 'heavy'"
    )
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0
