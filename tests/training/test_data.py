"""Batches from the stored arrays: the right rows, the same bytes wherever they lie,
in an order that only the seed decides.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny_dataset
from equimodal.errors import UserError
from equimodal.seeding import generator
from equimodal.settings.training import AugmentSettings
from equimodal.stages.setup import Setup, load_data
from equimodal.store import file_sha256, read_json, write_json
from equimodal.training import data as data_module
from equimodal.training.data import DataModule

CPU = torch.device("cpu")
PLAIN = AugmentSettings(crop=False, flip=False)


def batches(
    data: DataModule, size: int = 16, augment: AugmentSettings = PLAIN, share: slice = slice(None)
) -> list[tuple[dict[str, Tensor], Tensor]]:
    return list(data.training_batches(size, generator(0, "order", 0), generator(0, "augment", 0), augment, share))


def joined(parts: list[tuple[dict[str, Tensor], Tensor]]) -> tuple[dict[str, Tensor], Tensor]:
    return {name: torch.cat([x[name] for x, _ in parts]) for name in parts[0][0]}, torch.cat([y for _, y in parts])


@pytest.mark.parametrize("resident", ["device", "map"])
def test_a_flipped_byte_of_features_names_the_file(tiny: Path, resident: str) -> None:
    path = Path("data/tiny/features/visual.npy")
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    load_data("tiny", None, CPU, resident)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    for _ in range(2):
        with pytest.raises(UserError, match=r"^data/tiny/features/visual\.npy is damaged, .* build it again"):
            load_data("tiny", None, CPU, resident)
    load_data("tiny", ["audio"], CPU, resident)


def test_an_array_behind_a_map_is_read_whole_once_for_each_of_its_versions(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(data_module, "file_sha256", lambda path: read.append(path.stem) or file_sha256(path))
    for _ in range(2):
        load_data("tiny", None, CPU, "map")
    assert read == ["audio", "visual"]
    os.utime("data/tiny/features/audio.npy")
    load_data("tiny", None, CPU, "map")
    assert read == ["audio", "visual", "audio"]
    for _ in range(2):
        load_data("tiny", ["audio"], CPU, "device")
    assert read[3:] == ["audio", "audio"], "what is kept at hand is compared each time"


@pytest.mark.parametrize("resident", ["device", "map"])
def test_evaluation_reads_the_manifests_rows_in_order(tiny: Path, resident: str) -> None:
    manifest = read_json(Path("data/tiny/manifest.json"))
    data = load_data("tiny", None, CPU, resident)
    for split, count in tiny_dataset.COUNTS.items():
        x, labels = joined(list(data.evaluation_batches(split, 7)))  # type: ignore[arg-type]
        members = [i for i, s in enumerate(manifest["splits"]) if s == split]
        assert len(members) == count == data.count(split)  # type: ignore[arg-type]
        assert labels.tolist() == [manifest["labels"][i] for i in members] == data.split_labels(split).tolist()  # type: ignore[arg-type]
        for name, value in x.items():
            stored = np.load(f"data/tiny/features/{name}.npy")[[manifest["rows"][i] for i in members]]
            assert torch.equal(value, data.transforms[name].evaluate(torch.from_numpy(stored)))
            assert value.shape[1:] == data.shapes[name]


def test_an_epoch_has_every_training_sample_once_in_a_seeded_order(tiny: Path) -> None:
    data = load_data("tiny", ["audio"], CPU, "device")
    (x, labels), (again, _) = joined(batches(data)), joined(batches(data))
    ordered, truth = joined(list(data.evaluation_batches("train", 60)))
    assert torch.equal(x["audio"], again["audio"])
    order = [int((ordered["audio"] == sample).flatten(1).all(1).nonzero()) for sample in x["audio"]]
    assert sorted(order) == list(range(60)) != order
    assert torch.equal(truth[order], labels)


@pytest.mark.parametrize(
    ("count", "sizes"), [(60, [16, 16, 16, 12]), (48, [16, 16, 16]), (49, [16, 16, 16]), (50, [16, 16, 16, 2]), (1, [])]
)
def test_a_last_batch_of_one_is_left_out(tiny: Path, count: int, sizes: list[int]) -> None:
    tiny_dataset.write(tiny, counts={"train": count, "val": 6, "test": 6})
    data = load_data("tiny", ["audio"], CPU, "device")
    assert [len(labels) for _, labels in batches(data)] == sizes and data.steps(16) == len(sizes)


def test_processes_share_the_batches_of_an_epoch(tiny: Path) -> None:
    data = load_data("tiny", ["audio"], CPU, "device")
    whole = [labels.tolist() for _, labels in batches(data)]
    parts = [[labels.tolist() for _, labels in batches(data, share=slice(rank, 4, 2))] for rank in (0, 1)]
    assert parts == [whole[0::2], whole[1::2]]


def test_augmented_batches_are_the_same_from_memory_and_from_disk(tiny: Path) -> None:
    on_device, mapped = (load_data("tiny", None, CPU, resident) for resident in ("device", "map"))
    assert on_device.resident and not mapped.resident
    for (x, labels), (y, truth) in zip(
        batches(on_device, augment=AugmentSettings()), batches(mapped, augment=AugmentSettings()), strict=True
    ):
        assert torch.equal(labels, truth) and all(torch.equal(x[name], y[name]) for name in x)
    assert load_data("tiny", None, CPU, "auto").resident


def test_auto_leaves_on_disk_what_does_not_fit(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equimodal.training.data._free_bytes", lambda device: 1000)
    assert not load_data("tiny", None, CPU, "auto").resident


def test_one_flip_a_sample_for_all_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_dataset.write(tmp_path, third=True)
    monkeypatch.chdir(tmp_path)
    data = load_data("tiny", None, CPU, "device")
    plain, _ = joined(batches(data))
    flipped, _ = joined(batches(data, augment=AugmentSettings(crop=False)))
    visual = (flipped["visual"] == plain["visual"].flip(-1)).flatten(1).all(1)
    motion = (flipped["motion"][:, 1] == plain["motion"][:, 1].flip(-1)).flatten(1).all(1)  # v is only moved
    assert torch.equal(visual, motion) and 15 < visual.sum() < 45
    assert torch.equal((flipped["visual"] == plain["visual"]).flatten(1).all(1), ~visual)


def test_the_method_does_not_change_the_data(tiny: Path) -> None:
    from equimodal.stages.running import Run

    seen = {}
    for method in ("joint", "joint-uni", "aim"):
        setup = Setup.open(tiny_dataset.params(), "tiny", method, 3)
        run = Run(setup, "train", "key")
        loop = run.loop(setup.method())
        torch.rand(5)  # whatever the method draws from the global generator
        seen[method] = [batch for epoch in (0, 1) for batch in loop.batches(epoch)]
    for method in ("joint-uni", "aim"):
        for ours, theirs in zip(seen[method], seen["joint"], strict=True):
            assert torch.equal(ours.labels, theirs.labels) and all(
                torch.equal(ours.inputs[name], theirs.inputs[name]) for name in ours.inputs
            )
    half = len(seen["joint"]) // 2
    assert not torch.equal(seen["joint"][0].labels, seen["joint"][half].labels)  # another order in the next epoch


def test_a_subset_of_modalities_draws_the_same_order(tiny: Path) -> None:
    both, one = load_data("tiny", None, CPU, "device"), load_data("tiny", ["visual"], CPU, "device")
    for (_, labels), (_, truth) in zip(batches(both), batches(one), strict=True):
        assert torch.equal(labels, truth)


def test_class_means_are_means_of_evaluation_inputs(tiny: Path) -> None:
    data = load_data("tiny", None, CPU, "device")
    x, labels = joined(list(data.evaluation_batches("train", 60)))
    for name, means in data.class_means(7).items():
        expected = torch.stack([x[name][labels == k].double().mean(0) for k in range(3)])
        torch.testing.assert_close(means.double(), expected, rtol=1e-6, atol=1e-6)
        assert means.dtype == torch.float32


def test_arrays_of_another_shape_are_refused_in_one_line(tiny: Path) -> None:
    path = Path("data/tiny/manifest.json")
    manifest = read_json(path)
    manifest["modalities"]["audio"]["shape"] = [1, 99, 20]
    write_json(path, manifest)
    with pytest.raises(UserError, match=r"audio.npy has rows of shape \[1, 16, 20\]"):
        load_data("tiny", None, CPU, "device")


def test_missing_data_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"manifest.json is missing: build it"):
        load_data("tiny", None, CPU, "device")


def picked(data: DataModule) -> DataModule:
    """The same data, of whose two frames the model sees one."""
    for name in ("visual", "motion"):
        if name in data.transforms:
            entry = data.manifest["modalities"][name]
            data.transforms[name] = type(data.transforms[name])(
                {**entry, "settings": {**entry["settings"], "pick": 1}}, CPU
            )
    return data


def test_picking_frames_costs_one_draw_and_only_where_it_is_asked_for(tiny: Path) -> None:
    tiny_dataset.write(tiny, third=True)
    data = picked(load_data("tiny", ["visual", "motion"], CPU, "device"))
    draw = generator(0, "augment", 0)
    x, _ = next(data.training_batches(60, generator(0, "order", 0), draw, PLAIN))
    assert data.shapes["visual"][1] == data.shapes["motion"][1] == x["visual"].shape[2] == x["motion"].shape[2] == 1
    expected = generator(0, "augment", 0)
    torch.rand(60, generator=expected)
    which = (torch.rand(60, 1, generator=expected) * 2).long()[:, 0]
    assert torch.equal(draw.get_state(), expected.get_state())
    whole, _ = next(
        load_data("tiny", ["visual", "motion"], CPU, "device").training_batches(
            60, generator(0, "order", 0), generator(0, "augment", 0), PLAIN
        )
    )
    for name in x:
        assert torch.equal(x[name][:, :, 0], whole[name][torch.arange(60), :, which])
    plain, audio = generator(0, "augment", 0), generator(0, "augment", 0)
    next(load_data("tiny", ["visual"], CPU, "device").training_batches(60, generator(0, "order", 0), plain, PLAIN))
    next(
        picked(load_data("tiny", ["audio"], CPU, "device")).training_batches(60, generator(0, "order", 0), audio, PLAIN)
    )
    expected = generator(0, "augment", 0)
    torch.rand(60, generator=expected)
    assert torch.equal(plain.get_state(), expected.get_state()) and torch.equal(audio.get_state(), expected.get_state())
