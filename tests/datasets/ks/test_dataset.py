"""Kinetics-Sounds from a folder and through the stages: what is there, what is not, and what is said of it."""

from pathlib import Path

import numpy as np
import pytest

from equimodal.datasets.ks.lists import CLASSES
from equimodal.datasets.ks.settings import KineticsSoundsSettings
from equimodal.errors import UserError
from equimodal.features import spectrogram
from equimodal.features.contract import Segment
from equimodal.params import Params
from equimodal.report.result import Availability
from equimodal.stages import features, index, manifest, raw
from equimodal.store import read_json
from media_files import cut, write_video
from small_datasets import KS, kind_of, params_of

IDS = ["aaaaaaaaaa0_000001_000011", "aaaaaaaaaa1_000001_000011", "aaaaaaaaaa2_000001_000011"]


def local(folder: Path, train: str, test: str, **changes: object) -> Params:
    """Lists below `folder`, clips in `folder`/copy."""
    (folder / "train.txt").write_text(train)
    (folder / "test.txt").write_text(test)
    (folder / "copy").mkdir(exist_ok=True)
    return params_of(KS, source="local", raw="copy", lists={"train": "train.txt", "test": "test.txt"}, **changes)


def build(params: Params) -> dict:
    """Every stage up to the manifest."""
    raw.run(params, "d")
    index.run(params, "d")
    for modality in params.datasets["d"].modalities:
        features.run(params, "d", modality)
    manifest.run(params, "d")
    return read_json(Path("data/d/manifest.json"))


def test_found_missing_and_unreadable_clips_are_told_apart(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"aaaaaaaaa{n:02d}" for n in range(24)]
    train = "".join(f"{name}_000001_000011,10,{4 * (n % 2)}\n" for n, name in enumerate(names[:16]))
    test = "".join(f"{name}_1,10,{4 * (n % 2)}\n" for n, name in enumerate(names[16:], 16))
    params = local(project, train, test, max_rejected=0.2, split={"validation": 0.25})
    for number, name in enumerate(names[2:], 2):  # two of the training clips are gone
        folder = project / "copy" / CLASSES[4 * (number % 2)]
        folder.mkdir(exist_ok=True)
        path = folder / (f"{name}.mp4" if number % 3 else f"{name}_000001_000011.mp4")
        write_video(path, frames=6, audio="aac", seconds=0.24)
    cut(project / "copy" / CLASSES[0] / f"{names[16]}.mp4", 0.1)  # cannot be opened
    made = build(params)
    assert made["classes"] == ["blowing_nose", "dribbling_basketball"]
    state = read_json(project / "data/d/raw/availability.json")
    assert state["missing"] == [f"{name}_000001_000011" for name in names[:2]] and state["counts"] == {
        "train": 14,
        "test": 8,
    }
    told = read_json(project / "data/d/index.json")
    assert told["missing"] == state["missing"] and [entry["id"] for entry in told["rejected"]] == [f"{names[16]}_1"] * 2
    found = made["availability"]
    assert {key: found[key] for key in ("listed", "found", "missing", "unreadable")} == {
        "listed": 24,
        "found": 22,
        "missing": 2,
        "unreadable": 1,
    }
    assert Availability(**found).digest == found["digest"]
    assert "22 of 24 listed clips found, 2 missing" in capsys.readouterr().err
    parts = dict(zip(made["ids"], made["splits"], strict=True))
    assert len(parts) == 21 and {parts[f"{name}_1"] for name in names[17:]} == {"test"}
    assert sorted(parts.values()).count("val") == 4  # a quarter of the 7 per class, by class
    assert manifest.availability(made["ids"], told["missing"], made["rejected"]) == found
    assert manifest.availability(made["ids"][1:], told["missing"], made["rejected"])["digest"] != found["digest"]


def test_missing_clips_do_not_count_as_rejected(project: Path) -> None:
    ids = [f"bbbbbbbbb{n:02d}_000001_000011" for n in range(40)]
    params = local(
        project,
        "".join(f"{name},10,0\n" for name in ids[:30]),
        "".join(f"{name},10,0\n" for name in ids[30:]),
        max_rejected=0.0,
    )
    for name in ids[::4]:
        (project / "copy" / f"{name}.mp4").write_bytes(b"x")
    kind = kind_of(params, "d")
    listing = kind.listing(kind.acquire(project / "data"))
    assert len(listing.samples) == 10 and len(listing.missing or ()) == 30
    assert (project / "data" / "availability.json").is_file()


def test_some_classes_are_used_with_the_lists_of_all(project: Path) -> None:
    ids = [f"ccccccccc{n:02d}_000001_000011" for n in range(24)]
    train = "".join(f"{name},10,{n % 3}\n" for n, name in enumerate(ids[:15]))
    test = "".join(f"{name},10,{n % 3}\n" for n, name in enumerate(ids[15:]))
    params = local(project, train, test)
    for name in ids[1:9:3] + ids[2:11:3]:  # none of class 0
        (project / "copy" / f"{name}.mp4").write_bytes(b"x")
    kind = kind_of(params, "d")
    files = kind.acquire(project / "data")
    with pytest.raises(
        UserError, match=r"1 of 3 classes have no clip in copy \(blowing_nose\).*d\.missing_classes: drop"
    ):
        kind.listing(files)
    for how in ({"missing_classes": "drop"}, {"classes": ["bowling", "blowing_out_candles"]}):
        kind = kind_of(local(project, train, test, **how), "d")
        listing = kind.listing(kind.acquire(project / "data"))
        assert listing.classes == ("blowing_out_candles", "bowling") and set(listing.left_out) == {"blowing_nose"}
        assert {s.label for s in listing.samples} == set(listing.classes) and len(listing.samples) == 6
        assert len(listing.missing or ()) == 16 - 6  # the third class is not waited for
    state = read_json(project / "data" / "availability.json")
    assert sum(state["listed"].values()) == 16  # a download would not fetch the others


@pytest.mark.parametrize("there", [[], ["holiday.mp4", "notes.txt"]])
def test_a_folder_that_the_lists_do_not_describe_is_one_clear_line(project: Path, there: list[str]) -> None:
    params = local(project, f"{IDS[0]},10,0\n{IDS[1]},10,1\n", f"{IDS[2]},10,0\n")
    for name in there:
        (project / "copy" / name).write_bytes(b"x")
    with pytest.raises(UserError, match=r"copy: only 0 of 3 listed clips are found") as caught:
        kind_of(params, "d").acquire(project)
    text = str(caught.value)
    assert (
        "\n" not in text
        and IDS[0] in text
        and "{id}_{start:06d}_{end:06d}.mp4" in text
        and "datasets.d.raw" in text
        and "datasets.d.lists" in text
    )
    assert ("holiday.mp4" if there else "no .mp4") in text


def test_a_missing_folder_says_what_where_how_much_and_which_setting(project: Path) -> None:
    params = local(project, f"{IDS[0]},10,0\n", f"{IDS[2]},10,0\n")
    (project / "copy").rmdir()
    with pytest.raises(
        UserError,
        match=r"copy .*is missing: get Kinetics-400 from https://github.com/cvdfoundation.*436 GB.*datasets.d.raw"
        r" or datasets.d.source",
    ):
        kind_of(params, "d").acquire(project)
    with pytest.raises(UserError, match="lies inside data/d/raw, which is rebuilt"):
        kind_of(params_of(KS, source="local", raw="data/d/raw/x"), "d").acquire(project)


def test_choices_are_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = local(project, f"{IDS[0]},10,0\naaaaaaaaaa0_9,10,0\n{IDS[1]},10,0\n", f"{IDS[2]},10,4\n")
    for name in ("aaaaaaaaaa0.mp4", f"{IDS[1]}.mp4", f"{IDS[1]}.webm", f"singing/{IDS[2]}.mp4"):
        (project / "copy" / name).parent.mkdir(exist_ok=True)
        (project / "copy" / name).write_bytes(b"x")
    kind_of(params, "d").acquire(project)
    said = capsys.readouterr().err
    assert f"1 clips have more than one file, one is taken: {IDS[1]}: {IDS[1]}.mp4, not {IDS[1]}.webm" in said
    assert "1 clips are missing as their file fits another clip of the lists: aaaaaaaaaa0_9: aaaaaaaaaa0.mp4" in said
    assert f"1 clips lie in the folder of another class, the list is believed: {IDS[2]} (singing/{IDS[2]}.mp4)" in said


def test_odd_media_are_read_or_refused_with_a_reason(project: Path, shared: Path) -> None:
    """Real files as they come from YouTube and elsewhere:
    5.1 sound, 8 kHz, variable rates, no sound, no frame rate, broken ones.
    """
    (project / "copy").symlink_to(shared / "odd_media")
    good = ["bigbuckbunny", "test__resources__nasa_13013", "media__big_buck_bunny_432_433", "media__no_duration"]
    silent = ["demo__demo", "demo__demo_skeleton", "test__resources__h264_10bits", "-video-with-dash-"]
    broken = ["spec__fixtures__movies__broken", "media__doc_medias__result", "Mpeg4"]
    listed = "".join(f"{name},tickling\n" for name in good + silent + broken)
    params = local(project, listed, "webm,tickling\ngone,tickling\n", max_rejected=1.0, missing="reject")
    raw.run(params, "d")
    kind = kind_of(params, "d")
    listing = kind.listing(index.read_files("d"))
    tracks = index.look(kind.root, listing.samples, kind.settings, 1, "d")
    paths = {sample.id: sample.paths["audio"] or "" for sample in listing.samples}
    reasons = {
        sample.id: {entry["reason"] for entry in index.unusable(sample, tracks, kind.settings)}
        for sample in listing.samples
    }
    assert listing.missing == ("gone",) and {name for name, why in reasons.items() if not why} == set(good)
    assert all(reasons[name] == {"no audio track"} for name in [*silent, "webm"]) and all(
        reasons[name] for name in broken
    )
    audio = params.datasets["d"].modalities["audio"]
    for name in good:  # whatever the rate and the number of channels
        (row,) = spectrogram.extract(project / "copy" / paths[name], [Segment(0, name, None, None)], audio)
        assert isinstance(row, np.ndarray) and row.shape == spectrogram.shape(audio)
        assert row.std() > 0 or name == "media__no_duration"  # whose track is all zeros


@pytest.mark.parametrize(
    ("protocol", "shape", "epochs", "rate"),
    [("ogm", (1, 257, 625), 100, 1e-3), ("fbank", (1, 128, 1024), 50, 2e-3), ("aug", (1, 257, 1003), 100, 1e-2)],
)
def test_protocols_are_complete_and_as_published(
    protocol: str, shape: tuple[int, ...], epochs: int, rate: float
) -> None:
    assert protocol in KineticsSoundsSettings.protocols
    params = params_of({"kind": "ks", "protocol": protocol})
    data = params.datasets["d"]
    assert spectrogram.shape(data.modalities["audio"]) == shape
    visual = data.modalities["visual"]
    assert (visual.n, visual.pick, visual.size, visual.channels) == (10, 3, (224, 224), 3)
    training = params.training_of("d")
    assert (training.epochs, training.batch_size, training.optimizer.lr) == (epochs, 64, rate)
    assert (training.optimizer.weight_decay, training.optimizer.momentum) == (1e-4, 0.9) and training.augment.per_frame
    assert (data.split.rule, data.split.validation_by) == ("lists", "stratified")
    assert params_of({"kind": "ks", "protocol": protocol}, training={"epochs": 5}).training_of("d").epochs == 5
