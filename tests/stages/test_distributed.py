"""Training by two processes on the CPU (gloo), through the command line and through the stage: the launcher runs the
whole command twice.
"""

import subprocess
from pathlib import Path

import pytest
import torch

import tiny_dataset
import training_process
from equimodal.engines.layout import model_folder
from equimodal.stages import prototypes, warmup
from equimodal.store import read_json, read_tensors
from tiny_method import unimodal_models


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        "joint",
        "aim",
        "ogm-ge",
        "pmr",
        "agm",
        "opm-ogm",
        "mla",
        "mie",
        "shapley-alternating",
        "aug",
        "frozen",
        "late",
        "g-blending",
        "greedy",
        "dr",
    ],
)
def test_two_processes_hold_one_model(tiny: Path, method: str) -> None:
    tracking = {"enabled": True, "uri": "sqlite:///unused.db"} if method == "joint" else {"enabled": False}
    methods = {
        "ogm": {},
        "pmr": {},
        "agm": {},
        "ogm-ge": {"base": "ogm", "ge": True},
        "opm": {"warmup": 0.0, "p_exe": 1.0},
        "opm-ogm": {"base": "opm", "ogm": True},
        "mla": {},
        "mie": {},
        "shapley-alternating": {"memory": 0.1},
        "frozen": {},
        "late": {},
        "g-blending": {"super_epoch": 1},
        "greedy": {"first_epoch": 0, "epsilon": 0.0},
        "aug": {"interval": 1, "tau": 0.0, "step": "alternate"},
    }
    params = tiny_dataset.write_params(
        tiny, runtime={"devices": 2}, training={"epochs": 2}, tracking=tracking, methods=methods
    )
    if method == "aim":
        single = tiny_dataset.params(training={"epochs": 2})
        warmup.run(single, "tiny", params.warmup_of("tiny", method), 0)
        prototypes.run(single, "tiny", params.fit_of("tiny", method), 0)
    if params.family(method) == "from-unimodal":
        unimodal_models(tiny_dataset.params(training={"epochs": 2}))
    stderr, ((first, said), (second, unsaid)) = training_process.probe(training_process.PROBE, method)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert (said["tracked"], unsaid["tracked"]) == (method == "joint", False) and said["extra"] == unsaid["extra"]

    folder = model_folder("tiny", method, 0)
    last, meta = read_tensors(folder / "last.safetensors")
    assert len(meta["structure"].get("classifiers", [])) == (3 if method == "aug" else 0), (
        "one that DDP did not know when it was set up"
    )
    assert all(torch.equal(first[f"model.{name}"], value) for name, value in last.items())
    curves = read_json(folder / "curves.json")
    assert [entry["epoch"] for entry in curves["epochs"]] == [0, 1]
    samples = 54 if method == "g-blending" else 60  # a tenth is held out
    assert round(curves["epochs"][-1]["metrics"]["train/accuracy"] * samples, 6) % 1 == 0  # of both processes' samples
    assert stderr.count("epoch   1") == 1  # one of them reports
    assert not Path(".checkpoints", f"train-tiny-{method}-0").exists()


@pytest.mark.slow
def test_the_command_line_takes_its_lock_once_and_reruns_alike(tiny: Path) -> None:
    tiny_dataset.write_params(tiny, runtime={"devices": 2})
    written = []
    for _ in range(2):
        training_process.run("train", "--dataset", "tiny", "--method", "joint", "--seed", "0")
        written.append({path.name: path.read_bytes() for path in model_folder("tiny", "joint", 0).iterdir()})
    assert written[0] == written[1] and len(written[0]) == 4


@pytest.mark.slow
def test_more_processes_than_batches_end_in_one_line(tiny: Path) -> None:
    tiny_dataset.write_params(tiny, runtime={"devices": 2}, training={"batch_size": 60})
    command = training_process.command("train", "--dataset", "tiny", "--method", "joint", "--seed", "0")
    done = subprocess.run(
        command,
        env=training_process.environment(),
        capture_output=True,
        text=True,
        timeout=training_process.LIMIT,
        check=False,
    )
    assert (
        done.returncode == 2
        and "60 training samples give 1 batches of 60 for 2 processes" in done.stderr
        and "Traceback" not in done.stderr
    )
