"""Columns of a CSV that nobody has described: what each is taken for, and what is asked where none can be told."""

from pathlib import Path

import pytest

from equimodal.datasets.table.sheet import Reading, Sheet, read_columns, spread
from equimodal.errors import UserError

FILES = [f"c{number}.mp4" for number in range(12)]


def sheet(folder: Path, header: str, *rows: str) -> Sheet:
    """A CSV, and the files that its cells name in capitals' place."""
    for name in FILES:
        (folder / name).write_bytes(b"clip")
    path = folder / "rows.csv"
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    return Sheet.read(path)


def read(folder: Path, header: str, *rows: str, **given: str) -> Reading:
    return read_columns(sheet(folder, header, *rows), folder, given)


def rows(*cells: str) -> list[str]:
    """Twelve rows: a file and the other cells, of each the one whose turn it is."""
    return [
        ",".join([name, *(cell.split("|")[i % len(cell.split("|"))] for cell in cells)]) for i, name in enumerate(FILES)
    ]


def test_columns_are_told_by_name_whatever_its_spelling(tmp_path: Path) -> None:
    found = read(tmp_path, "File,Emotion,Speaker_ID,start time,END", *rows("sad|glad", "p|q|r", "0", "1"))
    assert found.columns == {
        "label": "Emotion",
        "group": "Speaker_ID",
        "start": "start time",
        "end": "END",
    }
    assert found.split == {"rule": "actor", "folds": 3}


def test_the_file_column_is_the_one_whose_cells_are_files_whatever_its_name(tmp_path: Path) -> None:
    found = read(tmp_path, "take,path,class", *rows("nowhere", "a|b"))
    assert found.media == ["take"]


def test_a_column_of_files_has_no_other_role_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "v.npy").write_bytes(b"x")
    found = read(
        tmp_path, "source,class,mood", *[line.replace("@", f"v.npy#{i}") for i, line in enumerate(rows("@", "a|b"))]
    )
    assert (found.columns, found.media, found.arrays) == ({"label": "mood"}, ["source"], ["class"])


def test_a_label_without_a_known_name_is_the_one_column_whose_values_repeat(tmp_path: Path) -> None:
    unique = "|".join(f"n{number}" for number in range(12))
    assert read(tmp_path, "file,word,remark", *rows("a|b|c", unique)).columns["label"] == "word"
    with pytest.raises(UserError, match=r"Say --column label=NAME; it has: word \(3 different\), mood \(2 different\)"):
        read(tmp_path, "file,word,mood", *rows("a|b|c", "x|y"))
    assert read(tmp_path, "file,word,mood", *rows("a|b|c", "x|y"), label="mood").columns["label"] == "mood"


@pytest.mark.parametrize(
    ("split", "rule"),
    [
        ("train|test|dev", {"rule": "column"}),
        ("train|test", {"rule": "column", "validation_by": "stratified"}),
        ("1|2|3", {"rule": "stratified"}),
        ("train|val", {"rule": "stratified"}),
    ],
)
def test_a_split_column_is_used_where_it_says_train_and_test(tmp_path: Path, split: str, rule: dict[str, str]) -> None:
    found = read(tmp_path, "file,label,split", *rows("a|b", split))
    assert found.split == rule
    assert ("split" in found.columns) == (rule["rule"] == "column")
    if rule["rule"] != "column":
        assert any("does not say train" in note for note in found.notes)


def test_a_named_split_column_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"column 'when' of .* does not say train"):
        read(tmp_path, "file,label,when", *rows("a|b", "1|2"), split="when")


def test_parts_of_one_file_stay_together(tmp_path: Path) -> None:
    lines = [f"c{number // 3}.mp4,{'ab'[number % 2]},{number},{number + 1}" for number in range(12)]
    found = read(tmp_path, "clip,label,from,to", *lines)
    assert found.columns["group"] == "clip" and found.split == {"rule": "actor", "folds": 4}
    assert any("several samples come from one file" in note for note in found.notes)


def test_a_group_that_is_always_the_same_is_none(tmp_path: Path) -> None:
    found = read(tmp_path, "file,label,speaker", *rows("a|b", "p"))
    assert "group" not in found.columns and found.split == {"rule": "stratified"}
    assert any("one speaker, video or session made several clips" in note for note in found.notes)


def test_times_that_are_no_seconds_are_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, "file,label,start", *rows("a|b", "00:01"))
    assert "start" not in found.columns and any("holds no seconds" in note for note in found.notes)


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        ("-1.5|0|2.25", {"task": "regression", "regression": {"low": -2, "high": 3}}),
        ("1|2|3", {}),
        ("1.5|b", {}),
        ("nan|1.5", {}),
    ],
)
def test_numbers_with_fractions_are_a_regression(tmp_path: Path, cells: str, task: dict[str, object]) -> None:
    assert read(tmp_path, "file,label", *rows(cells)).task == task


def test_rare_classes_are_named(tmp_path: Path) -> None:
    found = read(tmp_path, "file,label", *rows("a|a|a|b"))
    assert any("1 of 2 classes have fewer than 5 samples (b)" in note for note in found.notes)


def test_array_columns_are_told_from_media(tmp_path: Path) -> None:
    (tmp_path / "v.npy").write_bytes(b"x")
    found = read(
        tmp_path, "file,text,label", *[line.replace("@", f"v.npy#{i}") for i, line in enumerate(rows("@", "a|b"))]
    )
    assert found.media == ["file"] and found.arrays == ["text"]


def test_a_unique_id_names_samples_where_no_media_do(tmp_path: Path) -> None:
    (tmp_path / "v.npy").write_bytes(b"x")
    found = read(tmp_path, "id,text,label", *[f"s{number},v.npy#{number},{'ab'[number % 2]}" for number in range(12)])
    assert found.media == [] and found.columns == {"label": "label", "id": "id"}


@pytest.mark.parametrize(
    ("header", "cells", "given", "said"),
    [
        ("file,label", ["a|b"], {"label": "mood"}, "has no column 'mood'; it has: file, label"),
        ("file,label", ["a|b"], {"speaker": "label"}, "roles are path, label, split, group, start, end, id"),
        ("file,label", ["a|"], {}, "column 'label' is empty in 6 of 12 rows"),
        ("file,label", ["a"], {}, "has one class only .'a' in column 'label'."),
        ("file,label", ["2.5"], {}, "has the same number in every row .'2.5' in column 'label'., nothing to learn"),
        ("file,other,label", ["c0.mp4|c1.mp4", "a|b"], {"path": "label"}, "names no media file below .* .as 'a'."),
    ],
)
def test_what_cannot_be_told_is_asked_in_one_line(
    tmp_path: Path, header: str, cells: list[str], given: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read(tmp_path, header, *rows(*cells), **given)
    assert "\n" not in str(caught.value)


def test_of_two_columns_of_media_one_may_be_chosen(tmp_path: Path) -> None:
    assert read(tmp_path, "file,other,label", *rows("c0.mp4|c1.mp4", "a|b")).media == ["file", "other"]
    assert read(tmp_path, "file,other,label", *rows("c0.mp4|c1.mp4", "a|b"), path="file").media == ["file"]


def test_parts_of_one_of_two_files_stay_together(tmp_path: Path) -> None:
    lines = [f"c{number}.mp4,c{number // 3}.mp4,{'ab'[number % 2]}" for number in range(12)]
    assert read(tmp_path, "sound,picture,label", *lines).columns["group"] == "picture"
    lines[0] = "c0.mp4,,a"  # an empty cell is no group
    assert "group" not in read(tmp_path, "sound,picture,label", *lines).columns


def test_files_that_are_elsewhere_are_told_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"names files that are below .*other \(as 'c0.mp4' in column 'file'\): set --root"
    ):
        read_columns(sheet(tmp_path, "file,label", *rows("a|b")), tmp_path / "other", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "has one column only"),
        (b"file;label\na;b\n", "has one column only"),
        (b"file,\na,b\n", "every column needs a name"),
        (b"file,file\na,b\n", "every column needs a name"),
        (b"file,label\n", "no rows below its header"),
        (b"file,label\n\xff,b\n", "is not a UTF-8 CSV file"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "rows.csv").write_bytes(text)
    with pytest.raises(UserError, match=said):
        Sheet.read(tmp_path / "rows.csv")


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        Sheet.read(tmp_path / "rows.csv")


def test_looked_at_are_different_values_over_the_whole_list() -> None:
    assert spread([str(number // 2) for number in range(200)], 3) == ["0", "50", "99"]
    assert spread(["a", "", "a", "b"]) == ["a", "b"]
