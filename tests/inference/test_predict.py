"""`equimodal predict`, as it is typed; without params.yaml."""

import csv
import io
import subprocess
import sys
from pathlib import Path

from equimodal.store import read_json


def predict(*words: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "equimodal", "predict", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        input=stdin,
    )


def test_files_to_a_csv(cremad: Path) -> None:
    assert not Path("params.yaml").exists()
    files = [
        str(file)
        for folder in ("AudioWAV", "VideoFlash")
        for file in sorted(Path(f"data/d/raw/{folder}").glob("1001_*"))
    ]
    Path("broken.flv").write_bytes(b"no media")
    done = predict("models/d/joint/0/val.safetensors", *files, "broken.flv", "--out", "out.csv")
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


def test_paths_on_standard_input_and_a_table_on_the_terminal(cremad: Path) -> None:
    files = sorted(Path("data/d/raw/VideoFlash").glob("1001_*"))[:2]
    done = predict("results/d_joint.json", "-", stdin="\n".join(map(str, files)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["clip", "prediction"]
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [file.stem for file in files]
    assert "2 seeds, averaged" in done.stderr


def test_nothing_readable_is_an_error(cremad: Path) -> None:
    done = predict("models/d/joint/0/val.safetensors", "nowhere.mp4")
    assert done.returncode == 2
    said = done.stderr.splitlines()
    assert said[-2].startswith("rejected: nowhere: audio:")
    assert said[-1] == "error: 1 of 1 clips could not be read; --out FILE.csv lists all of them"
