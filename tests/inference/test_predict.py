"""`equimodal predict`, as it is typed; without params.yaml."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

from equimodal.store import read_json
from typed import typed


def test_files_to_a_csv(cremad: Path) -> None:
    assert not Path("params.yaml").exists()
    files = [
        str(file)
        for folder in ("AudioWAV", "VideoFlash")
        for file in sorted(Path(f"data/d/raw/{folder}").glob("1001_*"))
    ]
    Path("broken.flv").write_bytes(b"no media")
    words = ["predict", "models/d/joint/0/val.safetensors", *files, "broken.flv", "--out", "out.csv"]
    command = [sys.executable, "-m", "equimodal", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert said[0] == "joint on d (seed 0, trained on a GENERATED SAMPLE): audio, visual -> 6 classes"
    assert said[-1] == f"1 of {len(files) // 2 + 1} clips could not be read; out.csv has all of them"
    rows = list(csv.DictReader(io.StringIO(Path("out.csv").read_text())))
    assert [row["id"] for row in rows] == [*sorted({Path(file).stem for file in files}), "broken"]
    assert rows[-1]["prediction"] == ""
    assert rows[-1]["rejected"].startswith("audio: unreadable")
    assert rows[0]["audio:file"].endswith(".wav")
    assert rows[0]["visual:file"].endswith(".flv")
    classes = read_json(Path("data/d/manifest.json"))["classes"]
    best = max(classes, key=lambda name: float(rows[0][f"p:{name}"]))
    assert rows[0]["prediction"] == best
    assert float(rows[0]["probability"]) == float(rows[0][f"p:{best}"])


def test_paths_on_standard_input_and_a_table_on_the_terminal(
    cremad: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(Path("data/d/raw/VideoFlash").glob("1001_*"))[:2]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(map(str, files))))
    status, table, said = typed(capfd, "predict", "results/d_joint.json", "-")
    assert status == 0, said
    assert table.split()[:2] == ["clip", "prediction"]
    assert [line.split()[0] for line in table.splitlines()[1:]] == [file.stem for file in files]
    assert "2 seeds, averaged" in said


def test_nothing_readable_is_an_error(cremad: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, _, text = typed(capfd, "predict", "models/d/joint/0/val.safetensors", "nowhere.mp4")
    assert status == 2
    said = text.splitlines()
    assert said[-2].startswith("rejected: nowhere: audio:")
    assert said[-1] == "error: 1 of 1 clips could not be read; --out FILE.csv lists all of them"
