"""Sequences and vectors on their way to the model, and a run of transformers that is killed and goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_dataset
import training_process
from equimodal.engines.layout import model_folder
from equimodal.errors import UserError
from equimodal.models.padded import Input, Padded
from equimodal.seeding import generator
from equimodal.settings.training import AugmentSettings
from equimodal.stages.setup import load_data
from equimodal.store import read_json, read_tensors, write_json
from equimodal.training.data import DataModule

CPU = torch.device("cpu")
NAMES = ["text", "face", "facts"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataModule:
    tiny_dataset.write(tmp_path, NAMES)
    monkeypatch.chdir(tmp_path)
    return load_data("tiny", None, CPU, "device")


def same(a: Input, b: Input) -> bool:
    if isinstance(a, Padded) and isinstance(b, Padded):
        return torch.equal(a.values, b.values) and torch.equal(a.mask, b.mask)
    return isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and torch.equal(a, b)


def test_batches_are_standardised_over_real_steps_and_zero_elsewhere(data: DataModule) -> None:
    manifest = read_json(Path("data/tiny/manifest.json"))
    assert data.shapes == {"text": (8, 6), "face": (12, 4), "facts": (7,)}
    inputs, _ = next(data.evaluation_batches("train", 60))
    rows = np.array(manifest["rows"])[np.array(manifest["splits"]) == "train"]
    for name in ("text", "face"):
        x, entry = inputs[name], manifest["modalities"][name]
        assert (
            isinstance(x, Padded)
            and x.mask.sum(1).tolist() == [entry["lengths"][row] for row in rows]
            and 0 in x.mask.sum(1)
        )
        real = x.values[x.mask].double()
        torch.testing.assert_close(real.mean(0), torch.zeros_like(real[0]), rtol=0, atol=1e-5)
        torch.testing.assert_close(real.std(0, unbiased=False), torch.ones_like(real[0]), rtol=0, atol=1e-5)
        assert x.values[~x.mask].abs().sum() == 0
    facts = inputs["facts"]
    assert isinstance(facts, torch.Tensor)
    torch.testing.assert_close(facts.double().mean(0), torch.zeros(7, dtype=torch.float64), rtol=0, atol=1e-5)


def test_standardising_is_a_choice(data: DataModule) -> None:
    path = Path("data/tiny/manifest.json")
    manifest = read_json(path)
    for name in ("text", "facts"):
        manifest["modalities"][name]["settings"]["standardize"] = False
    write_json(path, manifest)
    inputs, _ = next(load_data("tiny", None, CPU, "device").evaluation_batches("train", 60))
    rows = np.array(manifest["rows"])[np.array(manifest["splits"]) == "train"]
    for name in ("text", "facts"):
        x = inputs[name]
        assert np.array_equal(
            (x.values if isinstance(x, Padded) else x).numpy(), np.load(f"data/tiny/features/{name}.npy")[rows]
        )


def test_training_draws_nothing_for_them_and_memory_maps_give_the_same(data: DataModule) -> None:
    def epoch(module: DataModule) -> list[tuple[dict[str, Input], torch.Tensor]]:
        return list(
            module.training_batches(
                16, generator(0, "order", 0), generator(0, "augment", 0), AugmentSettings(spec_time=4, spec_freq=3)
            )
        )

    mapped = load_data("tiny", None, CPU, "map")
    whole, _ = next(data.evaluation_batches("train", 60))
    order = torch.randperm(60, generator=generator(0, "order", 0))
    seen = 0
    for (x, labels), (y, truth) in zip(epoch(data), epoch(mapped), strict=True):
        assert torch.equal(labels, truth) and all(same(x[name], y[name]) for name in NAMES)
        facts, text = whole["facts"], whole["text"]
        assert isinstance(facts, torch.Tensor) and isinstance(text, Padded)
        part = order[seen : seen + len(labels)]
        assert same(x["facts"], facts[part]) and same(x["text"], Padded(text.values[part], text.mask[part]))
        seen += len(labels)


def test_class_means_by_position(data: DataModule) -> None:
    inputs, labels = next(data.evaluation_batches("train", 60))
    means = data.class_means(7)
    text, x = means["text"], inputs["text"]
    assert isinstance(text, Padded) and isinstance(x, Padded) and text.values.dtype == torch.float32
    for k in range(3):
        members, mask = x.values[labels == k].double(), x.mask[labels == k]
        for position in range(8):
            has = mask[:, position]
            assert bool(text.mask[k, position]) == bool(2 * has.sum() >= mask.any(1).sum())
            expected = members[has, position].mean(0) if text.mask[k, position] else torch.zeros(6)
            torch.testing.assert_close(text.values[k, position].double(), expected.double(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lengths", [[3] * 5, [9] * 110, None])
def test_lengths_that_are_not_the_arrays_are_refused(data: DataModule, lengths: list[int] | None) -> None:
    path = Path("data/tiny/manifest.json")
    manifest = read_json(path)
    manifest["modalities"]["text"]["lengths"] = lengths
    if lengths is None:
        del manifest["modalities"]["text"]["lengths"]
    write_json(path, manifest)
    with pytest.raises(
        UserError, match=r"text.npy has 110 sequences of at most 8 steps; the manifest's lengths .* are not theirs"
    ):
        load_data("tiny", None, CPU, "device")


def test_a_stopped_run_with_dropout_goes_on_bit_identically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from equimodal.stages import train
    from equimodal.training.loop import Loop

    tiny_dataset.write(tmp_path, NAMES)
    monkeypatch.chdir(tmp_path)
    params = tiny_dataset.params(NAMES, model={"transformer": {"dropout": 0.3}, "mlp": {"dropout": 0.3}})
    train.run(params, "tiny", "joint", 0)
    folder = model_folder("tiny", "joint", 0)
    whole, curves = read_tensors(folder / "last.safetensors")[0], (folder / "curves.json").read_bytes()

    save, saved = Loop.save, []

    def save_and_stop(loop: Loop, path: Path) -> None:
        save(loop, path)
        saved.append(path)
        if len(saved) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Loop, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train.run(params, "tiny", "joint", 0)
    torch.rand(7)
    train.run(params, "tiny", "joint", 0)
    again = read_tensors(folder / "last.safetensors")[0]
    assert len(saved) == 3 and (folder / "curves.json").read_bytes() == curves
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


@pytest.mark.slow
def test_two_processes_train_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Padded inputs through DDP, prototypes riding along."""
    from equimodal.stages import prototypes, warmup

    tiny_dataset.write(tmp_path, NAMES)
    monkeypatch.chdir(tmp_path)
    single = tiny_dataset.params(NAMES, training={"epochs": 2})
    warmup.run(single, "tiny", "aim", 0)
    prototypes.run(single, "tiny", "aim", 0)
    tiny_dataset.write_params(tmp_path, NAMES, runtime={"devices": 2}, training={"epochs": 2})
    training_process.run("train", "--dataset", "tiny", "--method", "aim", "--seed", "0")
    epochs = read_json(model_folder("tiny", "aim", 0) / "curves.json")["epochs"]
    assert len(epochs) == 2 and None not in epochs[-1]["metrics"].values()
