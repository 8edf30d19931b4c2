"""Stage train: deterministic to the byte, and a process that is really killed goes on as if nothing had happened."""

from pathlib import Path
from typing import Any

import pytest

import tiny_dataset
import training_process
from equimodal.engines.layout import model_folder, unimodal_path
from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.report.rules import RULES
from equimodal.stages import evaluate, prototypes, train, warmup
from equimodal.stages.setup import Setup
from equimodal.store import file_sha256, read_json, read_tensors, write_tensors
from tiny_method import alone, unimodal_models

FILES = ("val.safetensors", "last.safetensors", "test.safetensors", "curves.json")


def outputs(method: str, seed: int = 0) -> dict[str, bytes]:
    return {name: (model_folder("tiny", method, seed) / name).read_bytes() for name in FILES}


def share(params: Params, method: str) -> None:
    """What a from-warmup method begins with."""
    warmup.run(params, "tiny", params.warmup_of("tiny", method), 0)
    prototypes.run(params, "tiny", params.fit_of("tiny", method), 0)


def test_the_seed_decides_every_byte(tiny: Path) -> None:
    params = tiny_dataset.params()
    train.run(params, "tiny", "joint", 0)
    first = outputs("joint")
    train.run(params, "tiny", "joint", 0)
    assert outputs("joint") == first
    train.run(params, "tiny", "joint", 1)
    assert outputs("joint", 1)["last.safetensors"] != first["last.safetensors"]


def test_arrays_on_the_device_or_on_disk_give_the_same_bytes(tiny: Path) -> None:
    train.run(tiny_dataset.params(runtime={"resident": "device"}), "tiny", "joint", 0)
    first = outputs("joint")
    train.run(tiny_dataset.params(runtime={"resident": "map"}), "tiny", "joint", 0)
    assert outputs("joint") == first


def test_nothing_of_the_place_or_time_is_in_the_outputs(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.run(tiny_dataset.params(), "tiny", "joint", 0)
    first = outputs("joint")
    other = tmp_path_factory.mktemp("elsewhere")
    tiny_dataset.write(other)
    monkeypatch.chdir(other)
    train.run(tiny_dataset.params(runtime={"workers": 7}, tracking={"uri": "sqlite:///other.db"}), "tiny", "joint", 0)
    assert outputs("joint") == first
    assert str(tiny).encode() not in b"".join(first.values())


def test_the_folder_holds_the_declared_files_and_nothing_else(tiny: Path) -> None:
    train.run(tiny_dataset.params(), "tiny", "joint", 0)
    assert sorted(path.name for path in model_folder("tiny", "joint", 0).iterdir()) == sorted(FILES)
    assert list(Path(".checkpoints").iterdir()) == []
    curves = read_json(model_folder("tiny", "joint", 0) / "curves.json")
    assert curves["meta"]["source"] == "sample" and curves["selected"]["last"] == 2
    meta = read_tensors(model_folder("tiny", "joint", 0) / "last.safetensors")[1]
    about = meta.pop("about")
    assert meta == {"epoch": 2, "rule": "last", "modalities": ["audio", "visual"], "structure": {}}
    assert (about["dataset"], about["method"], about["seed"], about["source"]) == ("tiny", "joint", 0, "sample")


def test_a_killed_finish_is_made_up_for(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All epochs done, but the process ends before the outputs are in place: nothing is trained again."""
    params = tiny_dataset.params()
    train.run(params, "tiny", "joint", 0)
    first = outputs("joint")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "write_curves", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        train.run(params, "tiny", "joint", 0)
    for name in FILES:
        (model_folder("tiny", "joint", 0) / name).unlink(missing_ok=True)
    monkeypatch.setattr("equimodal.training.loop.Loop._train", lambda *args: pytest.fail("an epoch is trained again"))
    train.run(params, "tiny", "joint", 0)
    assert outputs("joint") == first


@pytest.mark.parametrize(
    "method",
    [
        "aim",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("joint", "aug", "aim-label", "ogm-ge", "pmr", "agm")),
    ],
)
def test_a_killed_process_goes_on_bit_for_bit(tiny: Path, capfd: pytest.CaptureFixture[str], method: str) -> None:
    """Weights, optimizers, generators, and AIM's prototypes and decoupling are all in the checkpoint."""
    settings: dict[str, Any] = {
        "training": {"epochs": 8},
        "methods": {"ogm": {}, "ogm-ge": {"base": "ogm", "ge": True}, "aug": {"tau": 0.0}, "pmr": {}, "agm": {}},
    }
    params = tiny_dataset.write_params(tiny, **settings)
    if params.family(method) == "from-warmup":
        share(params, method)
    train.run(params, "tiny", method, 0)
    unbroken = outputs(method)
    for name in FILES:
        (model_folder("tiny", method, 0) / name).unlink()

    words = ("train", "--dataset", "tiny", "--method", method, "--seed", "0")
    checkpoint = Path(".checkpoints") / f"train-tiny-{method}-0" / "state.safetensors"
    done = training_process.kill_after_epoch(2, checkpoint, *words)
    assert 3 <= done < 8 and not (model_folder("tiny", method, 0) / "last.safetensors").exists()
    if method == "joint":
        said = training_process.run(*words).stderr
    else:  # a new process costs seconds; that it makes no difference, joint shows
        train.run(params, "tiny", method, 0)
        said = capfd.readouterr().err
    assert f"continuing after epoch {done - 1}" in said
    assert outputs(method) == unbroken
    assert not checkpoint.parent.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"optimizer": {"lr": 0.01}}},
        {"model": {"fusion": "sum"}},
        {"runtime": {"channels_last": False}},
        {"datasets": {"tiny": {"missing": "zero"}}},  # trains the same, but its weights say so
    ],
    ids=str,
)
def test_a_checkpoint_of_other_settings_is_not_resumed(
    tiny: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    train.run(tiny_dataset.params(**change), "tiny", "joint", 0)
    expected = outputs("joint")
    interrupted(tiny_dataset.params())
    capsys.readouterr()
    train.run(tiny_dataset.params(**change), "tiny", "joint", 0)
    assert "continuing" not in capsys.readouterr().err and outputs("joint") == expected


def test_a_checkpoint_of_other_data_or_other_code_is_not_resumed(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = tiny_dataset.params()
    interrupted(params)
    tiny_dataset.write(tiny, seed=1)
    train.run(params, "tiny", "joint", 0)
    assert "continuing" not in capsys.readouterr().err
    interrupted(params)
    monkeypatch.setattr("equimodal.stages.running.code_digest", lambda *args: "edited")
    train.run(params, "tiny", "joint", 0)
    assert "continuing" not in capsys.readouterr().err


def interrupted(params: Params) -> None:
    """Leave the checkpoint of a joint run after its first epoch."""

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("equimodal.stages.running.Run._report", stop)
        train.run(params, "tiny", "joint", 0)
    assert Path(".checkpoints/train-tiny-joint-0/state.safetensors").is_file()


def test_a_damaged_checkpoint_is_refused_and_the_training_is_the_same(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = tiny_dataset.params()
    train.run(params, "tiny", "joint", 0)
    unbroken = outputs("joint")
    interrupted(params)
    path = Path(".checkpoints/train-tiny-joint-0/state.safetensors")
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(content)
    capsys.readouterr()
    train.run(params, "tiny", "joint", 0)
    said = capsys.readouterr().err
    assert f"{path} is damaged, its content is not what its checksum says" in said and "starting afresh" in said
    assert "continuing" not in said and outputs("joint") == unbroken


def test_damaged_weights_are_not_evaluated(tiny: Path) -> None:
    params = tiny_dataset.params()
    train.run(params, "tiny", "joint", 0)
    folder = model_folder("tiny", "joint", 0)
    weights = read_json(folder / "curves.json")["weights"]
    assert weights == {f"{rule}.safetensors": file_sha256(folder / f"{rule}.safetensors") for rule in RULES}
    content = bytearray((folder / "last.safetensors").read_bytes())
    content[-9] ^= 4
    (folder / "last.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"models/tiny/joint/0/last\.safetensors is damaged"):
        evaluate.run(params, "tiny", "joint", 0)


def test_damaged_models_of_one_modality_are_not_started_from(tiny: Path) -> None:
    params = tiny_dataset.params(methods={**alone(False), "frozen": {}})
    unimodal_models(params)
    path = unimodal_path("tiny", "visual", 0)
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"models/tiny/unimodal/0/visual\.safetensors is damaged"):
        train.run(params, "tiny", "frozen", 0)


def test_modalities_keep_their_declared_order_from_batches_to_exported_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_dataset.write(tmp_path, third=["visual", "audio"])
    params = tiny_dataset.params(third=["visual", "audio"])
    setup = Setup.open(params, "tiny", "joint", 0)
    inputs, _ = next(setup.data.evaluation_batches("val", 2))
    assert list(inputs) == setup.data.modalities == setup.model().modalities == ["visual", "audio"]
    train.run(params, "tiny", "joint", 0)
    path = model_folder("tiny", "joint", 0) / "val.safetensors"
    tensors, meta = read_tensors(path)
    assert meta["modalities"] == ["visual", "audio"]
    evaluate.load(setup, path)
    (path.parent / "curves.json").unlink()  # which knows the checksum
    for wrong in ({**meta, "modalities": ["audio", "visual"]}, {"structure": {}}):
        write_tensors(path, tensors, wrong)
        with pytest.raises(UserError, match="the dataset declares visual, audio: train it again"):
            evaluate.load(setup, path)
