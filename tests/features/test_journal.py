"""An array under way: continued under the same key, begun anew under another."""

import errno
from pathlib import Path

import numpy as np
import pytest

from equimodal.errors import UserError
from equimodal.features import journal
from equimodal.features.journal import journaled


class Killed(BaseException):
    """Ends a block as Ctrl-C does."""


def begin(folder: Path, key: str = "one", shape: tuple[int, ...] = (4, 2)) -> tuple[np.ndarray, dict[int, list]]:
    """What a run finds; it is killed after it has written row 1 for job 7."""
    with pytest.raises(Killed), journaled(folder, key, shape, "uint8", folder / "out.npy") as (array, notes):
        found = np.array(array), dict(notes.done)
        array[1] = 9
        array.flush()
        notes.add(7, [[1, 2]])
        raise Killed
    return found


def test_the_next_run_finds_rows_and_jobs(tmp_path: Path) -> None:
    rows, done = begin(tmp_path / "work")
    assert not rows.any() and not done
    rows, done = begin(tmp_path / "work")
    assert rows.tolist() == [[0, 0], [9, 9], [0, 0], [0, 0]] and done == {7: [[1, 2]]}


@pytest.mark.parametrize("change", [{"key": "two"}, {"shape": (5, 2)}], ids=str)
def test_another_key_or_shape_starts_anew(tmp_path: Path, change: dict) -> None:
    begin(tmp_path / "work")
    rows, done = begin(tmp_path / "work", **change)
    assert not rows.any() and not done


@pytest.mark.parametrize("lost", ["rows.npy", "key.json"])
def test_half_a_beginning_counts_for_nothing(tmp_path: Path, lost: str) -> None:
    begin(tmp_path / "work")
    (tmp_path / "work" / lost).unlink()
    assert begin(tmp_path / "work")[1] == {}


def test_a_note_that_was_cut_off_is_not_believed(tmp_path: Path) -> None:
    begin(tmp_path / "work")
    line = "2124f816 [7, [[1, 2]]]\n"
    with open(tmp_path / "work" / "done.txt", "a") as file:
        file.write("f4ed9a83 [12, []]\n00000000 [13, []]")
    assert begin(tmp_path / "work")[1] == {7: [[1, 2]], 12: []}
    assert begin(tmp_path / "work")[1] == {7: [[1, 2]], 12: []}
    assert (tmp_path / "work" / "done.txt").read_text() == f"{line}f4ed9a83 [12, []]\n{line}"


@pytest.mark.parametrize("change", [(b"[7,", b"[6,"), (b"[[1, 2]]", b"\xff[1, 2]]"), (b"[7, [[1, 2]]]", b"7")], ids=str)
def test_a_damaged_note_is_not_believed(tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    begin(tmp_path / "work")
    notes = tmp_path / "work" / "done.txt"
    content = notes.read_bytes()
    assert change[0] in content
    notes.write_bytes(content.replace(*change))
    assert begin(tmp_path / "work")[1] == {}


def test_success_publishes_and_leaves_nothing(tmp_path: Path) -> None:
    with journaled(tmp_path / "work", "one", (2, 2), "float32", tmp_path / "out.npy") as (array, notes):
        array[:] = 3
        array.flush()
        notes.publish(tmp_path / "sub" / "out.npy")
    assert np.load(tmp_path / "sub" / "out.npy").tolist() == [[3, 3], [3, 3]]
    assert not (tmp_path / "work").exists()


def test_rows_reach_the_disk_before_their_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced = []
    monkeypatch.setattr(
        journal, "_force", lambda path: forced.append((path.name, (tmp_path / "work" / "done.txt").exists()))
    )
    begin(tmp_path / "work")
    assert forced == [("rows.npy", False), ("done.txt", True)]


def test_a_full_disk_names_what_was_being_made(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"no space left while writing .*out\.npy.*finished work is kept"),
        journaled(tmp_path / "work", "one", (2, 2), "uint8", tmp_path / "out.npy") as (_, notes),
    ):
        notes.add(3, [])
        raise OSError(errno.ENOSPC, "No space left on device")
    assert journal.Journal(tmp_path / "work").done == {3: []}
