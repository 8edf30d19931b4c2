"""Stage warmup: the first epochs of the joint run, whole state included, whoever shares it."""

from pathlib import Path

import pytest
import torch

import tiny_dataset
import training_process
from equimodal.engines.layout import warmup_path
from equimodal.methods.joint.method import Joint
from equimodal.params import Params
from equimodal.stages import train, warmup
from equimodal.stages.setup import Setup
from equimodal.store import read_json, read_tensors
from equimodal.training.loop import Loop


def joint_loop(params: Params) -> Loop:
    setup = Setup.open(params, "tiny", "joint", 0, kind=Joint)
    return Loop(setup.method(), setup.data, params.training, params.runtime, 0, Path("other"), "key", "joint")


def test_the_warmup_is_the_first_epochs_of_the_joint_run(tiny: Path) -> None:
    """And the joint run that takes it up ends bit for bit where the unbroken one does."""
    params = tiny_dataset.params(training={"epochs": 4}, methods={"aim": {"start_epoch": 2}})
    train.run(params, "tiny", "joint", 0)
    curves = read_json(Path("models/tiny/joint/0/curves.json"))
    warmup.run(params, "tiny", "aim", 0)

    tensors, meta = read_tensors(warmup_path("tiny", "aim", 0))
    assert meta["epoch"] == 2 and meta["history"] == curves["epochs"][:2]
    first = joint_loop(params)
    first.run(until=2)
    for name, value in first.method.model.state_dict().items():
        assert torch.equal(tensors[f"module/model.{name}"], value)

    second = joint_loop(params)
    torch.rand(5)
    second.start_from(warmup_path("tiny", "aim", 0))
    second.run()
    last, _ = read_tensors(Path("models/tiny/joint/0/last.safetensors"))
    assert all(torch.equal(last[name], value) for name, value in second.method.model.state_dict().items())
    assert second.progress.history == curves["epochs"]


def test_rerunning_gives_the_same_bytes(tiny: Path) -> None:
    params = tiny_dataset.params()
    path = warmup_path("tiny", "aim", 0)
    warmup.run(params, "tiny", "aim", 0)
    first = path.read_bytes()
    warmup.run(params, "tiny", "aim", 0)
    assert path.read_bytes() == first and [p.name for p in path.parent.iterdir()] == ["aim.safetensors"]


def test_what_comes_after_does_not_change_it(tiny: Path) -> None:
    """Only the start epoch of the owner's settings counts: editing lambda or tau keeps the file."""
    path = warmup_path("tiny", "aim", 0)
    warmup.run(tiny_dataset.params(), "tiny", "aim", 0)
    first = path.read_bytes()
    warmup.run(tiny_dataset.params(methods={"aim": {"lambda_mod": 0.5, "tau": 3.0}}), "tiny", "aim", 0)
    assert path.read_bytes() == first


def test_code_that_computes_the_same_gives_the_same_bytes(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment edited in the loop reruns the warm-up, but nothing after it."""
    path = warmup_path("tiny", "aim", 0)
    warmup.run(tiny_dataset.params(), "tiny", "aim", 0)
    first = path.read_bytes()
    monkeypatch.setattr("equimodal.stages.running.code_digest", lambda *args: "edited")
    warmup.run(tiny_dataset.params(), "tiny", "aim", 0)
    assert path.read_bytes() == first


def test_no_epochs_are_the_initial_state(tiny: Path) -> None:
    params = tiny_dataset.params(methods={"aim": {"start_epoch": 0}})
    warmup.run(params, "tiny", "aim", 0)
    tensors, meta = read_tensors(warmup_path("tiny", "aim", 0))
    fresh = Setup.open(params, "tiny", "aim", 0).model().state_dict()
    assert meta["epoch"] == 0 and all(
        torch.equal(tensors[f"module/model.{name}"], value) for name, value in fresh.items()
    )


def test_an_interrupted_one_goes_on_bit_for_bit(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = tiny_dataset.params(training={"epochs": 4}, methods={"aim": {"start_epoch": 3}})
    path = warmup_path("tiny", "aim", 0)
    warmup.run(params, "tiny", "aim", 0)
    unbroken = path.read_bytes()
    path.unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("equimodal.stages.running.Run._report", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        warmup.run(params, "tiny", "aim", 0)
    assert not path.exists()
    warmup.run(params, "tiny", "aim", 0)
    assert "continuing after epoch 0" in capsys.readouterr().err
    assert path.read_bytes() == unbroken


@pytest.mark.slow  # a killed process that goes on is tested quickly in test_train.py
def test_a_killed_process_goes_on_bit_for_bit(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    params = tiny_dataset.write_params(tiny, training={"epochs": 10}, methods={"aim": {"start_epoch": 8}})
    path = warmup_path("tiny", "aim", 0)
    warmup.run(params, "tiny", "aim", 0)
    unbroken = path.read_bytes()
    path.unlink()
    words = ("warmup", "--dataset", "tiny", "--method", "aim", "--seed", "0")
    checkpoint = Path(".checkpoints/warmup-tiny-aim-0/state.safetensors")
    done = training_process.kill_after_epoch(1, checkpoint, *words)
    assert 2 <= done < 8 and not path.exists()
    warmup.run(params, "tiny", "aim", 0)
    assert f"continuing after epoch {done - 1}" in capfd.readouterr().err
    assert path.read_bytes() == unbroken
