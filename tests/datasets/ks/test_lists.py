"""The lists of Kinetics-Sounds: published form and plain CSV, and what is said of a line that is wrong."""

from pathlib import Path

import pytest

from equimodal.datasets.fetch.web import WebError
from equimodal.datasets.ks import lists as ks_lists
from equimodal.datasets.ks.lists import CLASSES, published, read_lists
from equimodal.errors import UserError

TRAIN = "--4-0ihtnBU_000058_000068,10,4\n--6q_33gNew_000132_000142,10,27\n"


def write(folder: Path, **lists: str) -> dict[str, str | None]:
    for split, text in lists.items():
        (folder / f"{split}.txt").write_bytes(text.encode("utf-8-sig" if split == "test" else "utf-8"))
    return {split: str(folder / f"{split}.txt") for split in lists}


def test_the_published_lists_are_read(shared: Path) -> None:
    folder = shared / "splits" / "kinetics_sounds"
    wanted = read_lists(
        {"train": str(folder / "my_train.txt"), "val": None, "test": str(folder / "my_test.txt")}, "key"
    )
    assert [sum(item.split == split for item in wanted) for split in ("train", "val", "test")] == [14799, 0, 2597]
    assert {item.label for item in wanted} == set(CLASSES) and list(CLASSES) == sorted(CLASSES) and len(CLASSES) == 31
    assert (wanted[0].id, wanted[0].label, wanted[0].start) == (
        "--4-0ihtnBU_000058_000068",
        "dribbling_basketball",
        None,
    )


def test_a_plain_csv_has_names_and_times(tmp_path: Path) -> None:
    lists = write(
        tmp_path,
        train="label,id,end,start\nPlaying guitar,abc,4.5,1\ntap_dancing,d-e,,\n",
        val="abd,3\n",
        test="xyz,tickling,,9\r\n",
    )
    first, second, held, tested = read_lists(lists, "key")
    assert (first.id, first.label, first.start, first.end) == ("abc", "playing_guitar", 1.0, 4.5)
    assert (second.label, second.start, second.end) == ("tap_dancing", None, None)
    assert (held.id, held.label, held.split) == ("abd", "chopping_wood", "val")
    assert (tested.id, tested.label, tested.split, tested.start, tested.end) == ("xyz", "tickling", "test", None, 9.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            TRAIN + "a,10,31\n",
            r"train.txt, line 3: class id 31 is unknown: Kinetics-Sounds has 0 \(blowing_nose\) to 30 \(tickling\)",
        ),
        ("a,playing_gitar\n", r"line 1: class 'playing_gitar' is not one of the 31.*did you mean 'playing_guitar'"),
        ("a,b,c\n", r"line 1: 'a,b,c' has not the columns of a list"),
        ("a\n", r"has not the columns of a list: every line is id,seconds,class"),
        (TRAIN + "a,4\n", r"line 3: 2 columns, the lines before have 3"),
        (TRAIN + ",10,4\n", r"line 3: '' is not a clip's id"),
        (TRAIN + "../x,10,4\n", r"line 3: '../x' is not a clip's id"),
        (TRAIN + TRAIN, r"line 3: --4-0ihtnBU_000058_000068 is in the train list twice \(also .*train.txt, line 1\)"),
        ("a,4,1,x\n", r"line 1: 'x' is not a time in seconds"),
        ("a,4,2,1\n", r"line 1: end 1 s is not after start 2 s"),
        ("", "lists no clip: key.train must name a list"),
        ("id,label\n", "lists no clip"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        read_lists(write(tmp_path, train=text), "key")
    assert "\n" not in str(caught.value)


def test_a_clip_on_both_lists_is_refused_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"test.txt, line 1: --6q_33gNew_000132_000142 is in both lists \(also .*train.txt, line 2\)"
    ):
        read_lists(write(tmp_path, train=TRAIN, test="--6q_33gNew_000132_000142,10,27\n"), "key")


def test_a_missing_list_says_which_setting(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"none.txt cannot be read \(No such file.*datasets.ks.lists.train must name a list of clips"
    ):
        read_lists({"train": str(tmp_path / "none.txt")}, "datasets.ks.lists")


def test_published_lists_are_fetched_once_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = []

    def get(url: str, most: int) -> bytes:
        asked.append(url)
        return (shared / "splits" / "kinetics_sounds" / url.rsplit("/", 1)[1]).read_bytes()

    monkeypatch.setattr(ks_lists, "get", get)
    assert len(read_lists({"train": None, "val": None, "test": None}, "key")) == 14799 + 2597
    published("train", "key")
    assert len(asked) == 2 and asked[0].startswith("https://raw.githubusercontent.com/GeWu-Lab/OGM-GE_CVPR2022/")
    (ks_lists.CACHE / "my_test.txt").write_text("changed,10,1\n")
    with pytest.raises(UserError, match=r"my_test.txt is not the published list \(checksum differs\)"):
        published("test", "key")


def test_no_network_names_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def get(url: str, most: int) -> bytes:
        raise WebError("no answer")

    monkeypatch.setattr(ks_lists, "get", get)
    with pytest.raises(
        UserError,
        match=r"cannot download the published train list: no answer; set datasets.ks.lists.train to your copy of"
        r" my_train.txt",
    ):
        read_lists({"train": None}, "datasets.ks.lists")
