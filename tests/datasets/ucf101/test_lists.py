"""UCF-101's list files: read, checked, downloaded once."""

import io
import zipfile
from pathlib import Path

import pytest

from equimodal.datasets.ucf101 import lists as ucf101_lists
from equimodal.datasets.ucf101.lists import read_lists
from equimodal.errors import UserError

CLASSES = "1 Archery\r\n2 Fencing\r\n"
TRAIN = "Archery/v_Archery_g02_c01.avi 1\nFencing/v_Fencing_g02_c01.avi 2\n"
TEST = "Archery/v_Archery_g01_c01.avi\n\nFencing/v_Fencing_g01_c01.avi\n"


def write(folder: Path, **texts: str) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in {"classInd": CLASSES, "trainlist01": TRAIN, "testlist01": TEST, **texts}.items():
        (folder / f"{name}.txt").write_bytes(text.encode())
    return str(folder)


def test_classes_and_parts(tmp_path: Path) -> None:
    lists = read_lists(write(tmp_path), 1, "key")
    assert lists.classes == ("Archery", "Fencing")
    assert lists.parts == {
        "train": {"v_Archery_g02_c01": "Archery", "v_Fencing_g02_c01": "Fencing"},
        "test": {"v_Archery_g01_c01": "Archery", "v_Fencing_g01_c01": "Fencing"},
    }
    assert (lists.class_of("v_ARCHERY_g01_c01"), lists.class_of("v_Rowing_g01_c01"), lists.class_of("x")) == (
        "Archery",
        None,
        None,
    )


WRONG = {
    "id": (
        {"trainlist01": TRAIN.replace("avi 2", "avi 1")},
        r"trainlist01.txt, line 2: '.*avi 1' has class id 1, but Fencing is 2",
    ),
    "folder": (
        {"testlist01": TEST.replace("Fencing/", "Archery/")},
        r"testlist01.txt, line 3: .* lies in folder Archery",
    ),
    "class": ({"testlist01": "Rowing/v_Rowing_g01_c01.avi\n"}, r"testlist01.txt, line 1: .* is of class Rowing"),
    "path": ({"testlist01": "../v_Archery_g01_c01.avi\n"}, r"testlist01.txt, line 1: .* is no clip"),
    "both": (
        {"testlist01": TEST + "Archery/v_Archery_g02_c01.avi\n"},
        r"1 clips are in both trainlist01.txt and testlist01.txt \(v_Archery_g02_c01\)",
    ),
    "order": ({"classInd": "2 Archery\n1 Fencing\n"}, r"classInd.txt, line 1: '2 Archery' is not 'ID NAME' with id 1"),
    "some classes": (
        {"classInd": "1 Archery\n9 Fencing\n"},
        r"classInd.txt, line 2: '9 Fencing' .* leave the lists as they are, and set datasets.d.classes\)",
    ),
    "class twice": ({"classInd": "1 Archery\n2 archery\n"}, r"classInd.txt lists archery twice"),
    "one class": ({"classInd": "1 Archery\n"}, r"at least two are needed"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_contradicts_itself_is_named_by_line(tmp_path: Path, wrong: str) -> None:
    texts, said = WRONG[wrong]
    with pytest.raises(UserError, match=said):
        read_lists(write(tmp_path, **texts), 1, "datasets.d.split.lists")


def test_a_missing_list_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"trainlist03.txt cannot be read .*: datasets.d.split.lists must name a folder"
    ):
        read_lists(write(tmp_path), 3, "datasets.d.split.lists")


def test_the_pins_are_those_of_the_lists_at_hand(shared: Path) -> None:
    for name, pinned in ucf101_lists.SHA256.items():
        content = (shared / "splits" / "ucf101" / name).read_bytes()
        assert ucf101_lists._digest(ucf101_lists._lines(content).values()) == pinned
        assert ucf101_lists._digest(ucf101_lists._lines(content.replace(b"\n", b"\r\n")).values()) == pinned


def archive(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for path in sorted(folder.iterdir()):
            file.write(path, f"ucfTrainTestlist/{path.name}")
    return buffer.getvalue()


def test_the_archive_is_fetched_once_and_checked(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project / "lists")
    answers = [archive(project / "lists")]
    monkeypatch.setattr(ucf101_lists, "get", lambda url, most: answers.pop())
    pins = {
        path.name: ucf101_lists._digest(ucf101_lists._lines(path.read_bytes()).values())
        for path in (project / "lists").iterdir()
    }
    monkeypatch.setattr(ucf101_lists, "SHA256", pins)
    assert read_lists(None, 1, "key") == read_lists(None, 1, "key") == read_lists("lists", 1, "key")
    (ucf101_lists.CACHE / "testlist01.txt").write_text("Archery/v_Archery_g01_c01.avi\n")
    with pytest.raises(UserError, match="is not the published list"):
        read_lists(None, 1, "key")


@pytest.mark.parametrize(
    ("answer", "said"),
    [("other", "is not the pinned list"), ("page", "is not the archive"), ("empty", "is not the archive")],
)
def test_another_archive_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch, answer: str, said: str) -> None:
    (project / "none").mkdir()
    write(project / "lists", **{name.removesuffix(".txt"): "1 Archery\n" for name in ucf101_lists.SHA256})
    content = {"other": archive(project / "lists"), "page": b"<html>", "empty": archive(project / "none")}[answer]
    monkeypatch.setattr(ucf101_lists, "get", lambda url, most: content)
    with pytest.raises(UserError, match=said):
        read_lists(None, 1, "key")
    assert not ucf101_lists.CACHE.exists()
