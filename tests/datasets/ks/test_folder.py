"""Which file is which clip: every usual layout, and a choice that does not depend on order where there are several."""

import random
from pathlib import Path

import pytest

from equimodal.datasets.ks.folder import Name, match, scan
from equimodal.datasets.ks.lists import Wanted

ID = "-3Mwkq-7TV4"


def wanted(*ids: str, label: str = "playing_drums", split: str = "train") -> list[Wanted]:
    return [Wanted(name, label, split, None, None, "list, line 1") for name in ids]


@pytest.mark.parametrize(
    "path",
    [
        f"{ID}_000002_000012.mp4",
        f"playing_drums/{ID}_000002_000012.mp4",
        f"train/playing drums/{ID}_000002_000012.MP4",
        f"val/{ID}_000002_000012.mkv",
        f"{ID}_2.mp4",
        f"playing_drums/{ID}.webm",
        f"{ID}.mp4",
    ],
)
@pytest.mark.parametrize("name", [f"{ID}_2", f"{ID}_000002_000012", ID])
def test_every_usual_layout_is_understood(path: str, name: str) -> None:
    found = match(wanted(name), ["other/0123456789A_000002_000012.mp4", path, "notes.mp4"])
    assert found.found == {name: path} and not found.missing and not found.others


def test_names_with_underscores_and_other_names() -> None:
    assert Name.of("abc_1234567") == Name("abc_1234567") and Name.of("abc_1234567_000010_000020") == Name(
        "abc_1234567", 10
    )
    assert Name.of("my own clip") == Name("my own clip")
    assert match(wanted("my own clip"), ["a/my own clip.mp4", "a/my own.mp4"]).found == {
        "my own clip": "a/my own clip.mp4"
    }


def test_another_clip_of_the_same_video_is_not_taken() -> None:
    found = match(wanted(f"{ID}_2"), [f"{ID}_000003_000013.mp4"])
    assert not found.found and found.missing == (f"{ID}_2",)


def test_of_several_files_the_best_is_taken_whatever_their_order() -> None:
    files = [
        f"{ID}.mp4",
        f"playing_drums/{ID}_2.webm",
        f"playing_drums/{ID}_000002_000012.mkv",
        f"b/{ID}_000002_000012.mp4",
        f"singing/{ID}_000002_000012.mp4",
        f"playing_drums/deep/{ID}_000002_000012.mp4",
    ]
    best = [files[1], files[5], files[2], files[3], files[4], files[0]]
    for _ in range(5):
        random.shuffle(files)
        found = match(wanted(f"{ID}_2"), files)
        assert found.found == {f"{ID}_2": best[0]} and found.others == {f"{ID}_2": best[1:]}


def test_a_file_goes_to_one_clip_of_the_lists() -> None:
    entries = wanted(f"{ID}_9", f"{ID}_000002_000012")
    for order in (entries, entries[::-1]):
        found = match(order, [f"{ID}.mp4"])
        assert found.found == {f"{ID}_000002_000012": f"{ID}.mp4"}
        assert found.missing == (f"{ID}_9",) and found.shared == {f"{ID}_9": f"{ID}.mp4"}
    better = match(entries, [f"{ID}.mp4", f"{ID}_2.mp4"])
    assert (
        better.found == {f"{ID}_000002_000012": f"{ID}_2.mp4", f"{ID}_9": f"{ID}.mp4"}
        and not better.others
        and not better.shared
    )


def test_a_file_in_another_classs_folder_is_told() -> None:
    found = match(wanted(ID), [f"val/singing/{ID}.mp4"])
    assert found.found and found.misplaced == (ID,)
    assert not match(wanted(ID), [f"val/mine/{ID}.mp4"]).misplaced


def test_a_folder_is_scanned_through_links_but_not_in_circles(tmp_path: Path) -> None:
    real = tmp_path / "disk" / "train" / "singing"
    real.mkdir(parents=True)
    (real / f"{ID}.mp4").write_bytes(b"x")
    (real / "a.txt").write_bytes(b"x")
    (real / ".begun.mp4").write_bytes(b"x")
    (tmp_path / "disk" / ".archives").mkdir()
    (tmp_path / "disk" / ".archives" / f"{ID}.mp4").write_bytes(b"x")
    (real / "up").symlink_to(tmp_path / "disk")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "k400").symlink_to(tmp_path / "disk")
    assert scan(tmp_path / "copy") == [f"k400/train/singing/{ID}.mp4"]


def test_what_is_there_is_described() -> None:
    entries = [*wanted(f"{ID}_2"), *wanted("0123456789A_000001_000011", split="test")]
    content = match(entries, [f"{ID}_2.mp4"]).describe(entries)
    assert content["listed"] == {"train": 1, "test": 1} and content["counts"] == {"train": 1, "test": 0}
    assert content["found"] == {f"{ID}_2": f"{ID}_2.mp4"} and content["missing"] == ["0123456789A_000001_000011"]
