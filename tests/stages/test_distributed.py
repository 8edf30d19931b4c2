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

# Fabric starts further processes from the script's own path, so this must be a file.
PROBE = """
import os, sys
from pathlib import Path
from equimodal.params import load_params
from equimodal.stages import train
from equimodal.stages.running import Run
from equimodal.store import write_tensors

finish = Run.finish

def probe(self, loop, write):
    assert loop.fabric.world_size == 2
    facts = {"tracked": self.tracker._child is not None}
    write_tensors(Path(f"rank{loop.fabric.global_rank}.safetensors"), loop.method.state_dict(), facts)
    finish(self, loop, write)

Run.finish = probe
train.run(load_params(), "tiny", sys.argv[1], 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["joint", "aim", "ogm-ge", "pmr", "agm", "opm-ogm", "mla", "mie", "shapley-alternating", "aug"]
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
        "aug": {"interval": 1, "tau": 0.0, "step": "alternate"},
    }
    params = tiny_dataset.write_params(
        tiny, runtime={"devices": 2}, training={"epochs": 2}, tracking=tracking, methods=methods
    )
    if method == "aim":
        single = tiny_dataset.params(training={"epochs": 2})
        warmup.run(single, "tiny", params.warmup_of("tiny", method), 0)
        prototypes.run(single, "tiny", params.fit_of("tiny", method), 0)
    stderr, ((first, said), (second, unsaid)) = training_process.probe(PROBE, method)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert (said["tracked"], unsaid["tracked"]) == (method == "joint", False)

    folder = model_folder("tiny", method, 0)
    last, meta = read_tensors(folder / "last.safetensors")
    assert len(meta["structure"].get("classifiers", [])) == (3 if method == "aug" else 0), (
        "one that DDP did not know when it was set up"
    )
    assert all(torch.equal(first[f"model.{name}"], value) for name, value in last.items())
    curves = read_json(folder / "curves.json")
    assert [entry["epoch"] for entry in curves["epochs"]] == [0, 1]
    assert round(curves["epochs"][-1]["metrics"]["train/accuracy"] * 60, 6) % 1 == 0  # of both processes' samples
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
