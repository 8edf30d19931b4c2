"""Stage features from a hand-written index."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import media_files as media
from equimodal.errors import UserError
from equimodal.params import Params, parse_params
from equimodal.stages import features
from equimodal.store import file_sha256

AUDIO = {"kind": "spectrogram", "seconds": 0.4, "n_fft": 256, "window": 256, "hop": 128, "mel_bins": 16}
VISUAL = {"kind": "frames", "n": 2, "size": [16, 24], "margin": 2, "channels": 1}


def params(**dataset: Any) -> Params:
    own = {
        "kind": "table",
        "root": "media",
        "table": "list.csv",
        "modalities": {"audio": AUDIO, "visual": VISUAL},
        **dataset,
    }
    return parse_params(raw_params(own))


def raw_params(dataset: dict[str, Any]) -> dict[str, Any]:
    return {
        "study": {"datasets": ["own"], "from-scratch": [], "from-warmup": [], "seeds": [0]},
        "datasets": {"own": dataset},
        "methods": {},
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two clips of two samples each and a broken one, with their index; the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "media").mkdir()
    samples = []
    for name, split in (("a", "train"), ("b", "test")):
        media.write_video(tmp_path / "media" / f"{name}.mp4", audio="aac")
        spans = [(0.0, 0.7), (0.8, 1.5)]
        samples += [
            {"id": f"{name}-{n}", "label": n, "group": name, "split": split, "start": span[0], "end": span[1]}
            for n, span in enumerate(spans)
        ]
    (tmp_path / "media" / "c.mp4").write_bytes(b"not a clip")
    samples.append({"id": "c", "label": 0, "group": "c", "split": "train", "start": None, "end": None})
    for sample in samples:
        sample["paths"] = dict.fromkeys(("audio", "visual"), f"{sample['id'][0]}.mp4")
    index = tmp_path / "data" / "own" / "index.json"
    index.parent.mkdir(parents=True)
    index.write_text(
        json.dumps({"dataset": "own", "root": "media", "classes": ["x", "y"], "samples": samples, "rejected": []})
    )
    return tmp_path


def test_outputs_are_as_the_contract_says(folder: Path) -> None:
    features.run(params(), "own", "visual")
    array = np.load("data/own/features/visual.npy")
    info = json.loads(Path("data/own/features/visual.json").read_text())
    assert array.shape == (5, 1, 2, 18, 26)
    assert (info["shape"], info["dtype"], info["rows"], info["clips"]) == ([1, 2, 18, 26], "uint8", 5, 3)
    assert info["sha256"] == file_sha256(Path("data/own/features/visual.npy"))
    assert info["rejected"] == [{"row": 4, "id": "c", "reason": "unreadable: Invalid data found when processing input"}]
    assert info["missing"] == []
    assert info["settings"]["size"] == [16, 24]
    assert info["stats"]["mean"] == pytest.approx([array[:2].mean()])
    assert info["stats"]["std"] == pytest.approx([array[:2].std()])


@pytest.mark.parametrize("modality", ["audio", "visual"])
def test_bytes_do_not_depend_on_workers(folder: Path, modality: str) -> None:
    found = []
    for workers in (1, 2):
        chosen = parse_params({**raw_params(params().dataset("own").slice()), "runtime": {"workers": workers}})
        features.run(chosen, "own", modality)
        found.append([Path(f"data/own/features/{modality}.{suffix}").read_bytes() for suffix in ("npy", "json")])
    assert found[0] == found[1]


def test_a_full_disk_is_one_line_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"no space left while writing data/own/features/audio\.npy"):
        features.run(params(), "own", "audio")
    assert not any(Path("data/own").glob("features/*"))


def test_nothing_readable_to_train_on_names_the_first_reason(folder: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (folder / "media" / name).write_bytes(b"")
    with pytest.raises(
        UserError,
        match=r"own: audio of no training sample could be read \(5 of 5 samples failed: a-0: unreadable: the file"
        r" is empty",
    ):
        features.run(params(), "own", "audio")
    assert not any(Path("data/own").glob("features/*"))


def test_an_unknown_modality_lists_the_valid_ones(folder: Path) -> None:
    with pytest.raises(UserError, match="unknown modality 'video'; own has: audio, visual"):
        features.run(params(), "own", "video")


def test_a_missing_index_says_what_to_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data/own/index\.json is missing"):
        features.run(params(), "own", "audio")


STOPS = {
    "killed worker": (signal.SIGKILL, 2, "error: a worker process died (SIGKILL) while reading media/"),
    "Ctrl-C": (signal.SIGINT, 130, "interrupted"),
    "terminated": (signal.SIGTERM, 143, "terminated"),
}


def many_clips(folder: Path, number: int) -> list[str]:
    """An index of `number` links to one clip, params.yaml for two workers,
    and the command that reads their pictures.
    """
    index = json.loads((folder / "data" / "own" / "index.json").read_text())
    for clip in range(number):
        os.link(folder / "media" / "a.mp4", folder / "media" / f"{clip}.mp4")
    index["samples"] = [
        {**index["samples"][0], "id": f"{clip}", "paths": {"visual": f"{clip}.mp4"}} for clip in range(number)
    ]
    (folder / "data" / "own" / "index.json").write_text(json.dumps(index))
    (folder / "params.yaml").write_text(json.dumps(raw_params(params().dataset("own").slice())))
    return [sys.executable, "-m", "equimodal", "features", "--dataset", "own", "--modality", "visual"]


@pytest.mark.parametrize("stop", STOPS)
def test_a_stage_that_is_stopped_says_one_line_and_leaves_nothing(folder: Path, stop: str) -> None:
    """The real command, stopped while its workers are busy with 2,000 clips."""
    command = many_clips(folder, 2000)
    number, status, said = STOPS[stop]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)
    workers = _workers(process)
    if stop == "killed worker":
        os.kill(workers[0], number)
    elif stop == "Ctrl-C":
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == status, error
    lines = [line for line in error.splitlines() if not line.startswith("visual features:")]
    assert len(lines) == 1, error
    assert lines[0].startswith(said)
    assert not any((folder / "data" / "own").glob("features/*"))
    end = time.monotonic() + 10
    while _session(process.pid):  # the fork server notices the end of the stage by itself
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_killed_stage_goes_on_where_it_stopped(folder: Path) -> None:
    """SIGKILL to all of its processes; the second run decodes the rest only,
    and its bytes are those of an unbroken run.
    """
    command = many_clips(folder, 500)
    notes = folder / ".checkpoints" / "features-own-visual" / "done.txt"
    code = (
        "import sys; from equimodal.features import journal; journal.INTERVAL = 0.2; sys.argv ="
        " sys.argv[1:]; from equimodal.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command[2:]],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while not (notes.is_file() and len(notes.read_text().split("\n")) > 20):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = len(notes.read_text().split("\n")) - 1
    assert 20 < done < 500
    for clip in range(50):  # read again they would be refused
        (folder / "media" / f"{clip}.mp4").unlink()
    finished = {json.loads(line.partition(" ")[2])[0] for line in notes.read_text().split("\n")[:-1]}
    gone = {clip for clip in range(50) if sorted(map(str, range(500))).index(str(clip)) not in finished}
    assert len(gone) < 50
    again = subprocess.run(command, cwd=folder, stderr=subprocess.PIPE, text=True, check=True)
    assert f"visual features: going on after {done} of 500 clips" in again.stderr
    info = json.loads((folder / "data/own/features/visual.json").read_text())
    assert {int(entry["id"]) for entry in info["rejected"]} == gone
    rows = np.load(folder / "data/own/features/visual.npy")
    whole = np.delete(rows, sorted(gone), axis=0)
    assert (whole == whole[0]).all() and whole[0].any()
    assert not (folder / ".checkpoints" / "features-own-visual").exists()


def _session(number: int) -> dict[int, int]:
    """Process -> its parent, of the live processes of a session."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == number and fields[0] != "Z":
            found[int(folder.name)] = int(fields[1])
    return found


def _workers(stage: "subprocess.Popen[str]") -> list[int]:
    """The stage's two workers, once they are at work: grandchildren, by way of the fork server."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert stage.poll() is None, stage.communicate()
        parents = _session(stage.pid)
        workers = [process for process, parent in parents.items() if parent != stage.pid and parent in parents]
        if len(workers) == 2:
            time.sleep(0.3)
            return workers
        time.sleep(0.02)
    raise AssertionError("no workers came up")
