"""Own data: what a table may look like, and the one line that each mistake gets."""

from pathlib import Path

import pytest

from equimodal.datasets.base import Listing
from equimodal.errors import UserError
from equimodal.params import Params
from small_datasets import TABLE, kind_of, params_of


def write(project: Path, text: str, files: tuple[str, ...] = ("a.mp4", "b.mp4")) -> None:
    (project / "media").mkdir(exist_ok=True)
    for name in files:
        (project / "media" / name).parent.mkdir(parents=True, exist_ok=True)
        (project / "media" / name).write_bytes(b"clip")
    (project / "media" / "rows.csv").write_bytes(text.encode())


def read(params: Params) -> Listing:
    kind = kind_of(params, "d")
    return kind.listing(kind.acquire(Path("unused")))


def test_rows_become_samples_with_ids_that_stay_short(project: Path) -> None:
    write(project, "path,label,who\na.mp4,x,p\nb.mp4,y,q\n")
    found = read(params_of(TABLE, columns={"group": "who"}, split={"rule": "actor"}))
    assert found.classes == ("x", "y")
    assert [(s.id, s.label, s.group, dict(s.paths)) for s in found.samples] == [
        ("a", "x", "p", {"audio": "a.mp4", "visual": "a.mp4"}),
        ("b", "y", "q", {"audio": "b.mp4", "visual": "b.mp4"}),
    ]


def test_segments_byte_order_mark_and_windows_line_ends(project: Path) -> None:
    write(
        project, "\ufeffpath,label,from,to,part\r\na.mp4,x,0.5,1,train\r\na.mp4,y,1,,Validation\r\nb.mp4,x,,,TEST\r\n"
    )
    found = read(params_of(TABLE, columns={"start": "from", "end": "to", "split": "part"}, split={"rule": "column"}))
    assert [(s.id, s.start, s.end, s.split) for s in found.samples] == [
        ("a@0.5", 0.5, 1.0, "train"),
        ("a@1", 1.0, None, "val"),
        ("b", None, None, "test"),
    ]


def test_ids_stay_unique_where_stems_or_times_do_not(project: Path) -> None:
    write(project, "path,label\np/a.mp4,x\nq/a.mp4,y\n", ("p/a.mp4", "q/a.mp4"))
    assert [s.id for s in read(params_of(TABLE)).samples] == ["p/a", "q/a"]
    write(project, "path,label\na.mp4,x\na.wav,y\n", ("a.mp4", "a.wav"))
    assert [s.id for s in read(params_of(TABLE)).samples] == ["a.mp4", "a.wav"]
    write(project, "path,label,s,e\na.mp4,x,1,2\na.mp4,y,1,3\n")
    assert [s.id for s in read(params_of(TABLE, columns={"start": "s", "end": "e"})).samples] == ["a@1-2", "a@1-3"]
    write(project, "path,label,s,e\na.mp4,x,1.0000001,2\na.mp4,y,1.0000002,3\n")
    assert len({s.id for s in read(params_of(TABLE, columns={"start": "s", "end": "e"})).samples}) == 2


def test_whole_number_labels_are_in_order_of_value(project: Path) -> None:
    write(project, "path,label\na.mp4,10\nb.mp4,9\n")
    assert read(params_of(TABLE)).classes == ("9", "10")


def test_an_absolute_path_is_the_users_own_choice(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "c.mp4"
    elsewhere.write_bytes(b"clip")
    write(project, f"path,label\na.mp4,x\n{elsewhere},y\n")
    assert read(params_of(TABLE)).samples[1].paths["audio"] == elsewhere.as_posix()


TWO_COLUMNS = {"path": {"audio": "sound", "visual": "picture"}}


def test_a_file_for_each_modality(project: Path) -> None:
    files = ("a.wav", "b.wav", "a.mp4", "b.mp4")
    write(project, "sound,picture,label\na.wav,a.mp4,x\nb.wav,,y\n,b.mp4,y\na.wav,b.mp4,x\n", files)
    samples = read(params_of(TABLE, columns=TWO_COLUMNS)).samples
    assert [dict(sample.paths) for sample in samples] == [
        {"audio": "a.wav", "visual": "a.mp4"},
        {"audio": "b.wav", "visual": None},
        {"audio": None, "visual": "b.mp4"},
        {"audio": "a.wav", "visual": "b.mp4"},
    ]
    assert len({sample.id for sample in samples}) == 4


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("sound,label\na.mp4,x\n", TWO_COLUMNS, r"no column 'picture' \(datasets.d.columns.path.visual\)"),
        ("sound,picture,label\n,,x\n", TWO_COLUMNS, r"line 2: column 'sound', 'picture' is empty: every row needs"),
        ("sound,picture,label\na.mp4,b.mp4,x\na.mp4,b.mp4,y\n", TWO_COLUMNS, r"lines 2 and 3 .*\(a.mp4, b.mp4, with"),
        ("sound,picture,label\na.mp4,lost.mp4,x\n", TWO_COLUMNS, r"lost.mp4 does not exist: mend .*line 2"),
        ("path,label\na.mp4,x\n", {"path": {"audio": "path"}}, r"columns.path names no column for visual"),
    ],
)
def test_what_is_wrong_with_files_for_each_modality(
    project: Path, text: str, changes: dict[str, object], words: str
) -> None:
    write(project, text)
    with pytest.raises(UserError, match=words):
        read(params_of(TABLE, columns=changes))


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("path,class\na.mp4,x\n", {}, r"no column 'label' \(datasets.d.columns.label\); it has: path, class"),
        ("path,label\na.mp4,x\nlost.mp4,y\n", {}, r"lost.mp4 does not exist: mend .*rows.csv, line 3"),
        ("path,label\na.mp4,x\n.,y\n", {}, r"is a folder, not a file"),
        ("path,label\na.mp4,x\nb.mp4,x\n", {}, r"one class only \('x' in column 'label'\)"),
        (
            "path,label\na.mp4,2.5\nb.mp4,2.5\n",
            {"task": "regression", "regression": {"low": -5, "high": 5}},
            r"the same number in every row \('2.5' in column 'label'\), nothing to learn",
        ),
        (
            "path,label,s,e\na.mp4,x,2,1\nb.mp4,y,0,1\n",
            {"columns": {"start": "s", "end": "e"}},
            r"line 2: end 1 s is not after start 2 s",
        ),
        (
            "path,label,s,e\na.mp4,x,1,1\nb.mp4,y,0,1\n",
            {"columns": {"start": "s", "end": "e"}},
            r"line 2: end 1 s is not after start 1 s",
        ),
        ("path,label,e\na.mp4,x,0\nb.mp4,y,1\n", {"columns": {"end": "e"}}, r"line 2: end 0 s is not after start 0 s"),
        ("path,label,s\na.mp4,x,soon\n", {"columns": {"start": "s"}}, r"line 2: 'soon' in column 's' is not a time"),
        ("path,label,s\na.mp4,x,-1\n", {"columns": {"start": "s"}}, r"'-1' in column 's' is not a time"),
        ("path,label,s\na.mp4,x,nan\n", {"columns": {"start": "s"}}, r"'nan' in column 's' is not a time"),
        (
            "path,label,p\na.mp4,x,train\nb.mp4,y,exam\n",
            {"columns": {"split": "p"}, "split": {"rule": "column"}},
            r"line 3: unknown split 'exam' in column 'p': use train, val or test",
        ),
        ("path,label\na.mp4,x\n", {"split": {"rule": "column"}}, r"split.rule = column needs columns.split"),
        ("path,label\na.mp4,x\na.mp4,x\n", {}, r"lines 2 and 3 are the same sample"),
        ("path,label\na.mp4,x\n./a.mp4,y\n", {}, r"lines 2 and 3 are the same sample .*labels 'x' and 'y'"),
        ("path,label\na.mp4,x\n../rows.csv,y\n", {}, r"'../rows.csv' leaves the folder media"),
        ("path,label\na.mp4,x\nsub/../../x,y\n", {}, r"leaves the folder media"),
        ("path,label\na.mp4,\n", {}, r"line 2: column 'label' is empty"),
        (
            "path,label,g\na.mp4,x,\n",
            {"columns": {"group": "g"}, "split": {"rule": "actor"}},
            r"line 2: column 'g' is empty",
        ),
        ("path,label\n", {}, r"no rows"),
        ("", {}, r"no column 'path'.*it has: none"),
        ("path,label,label\na.mp4,x,y\n", {}, r"two columns named label"),
        (
            "path,label,g\na.mp4,x,1\nb.mp4,y,2\n",
            {"columns": {"group": "g"}},
            r"stratified would put a group of 'g' \(columns.group\) on two sides",
        ),
        ("path,label\na.mp4,x\nb.mp4,y\n", {"table": "other.csv"}, r"other.csv does not exist: set datasets.d.root"),
        ("path,label\na.mp4,x\nb.mp4,y\n", {"table": "."}, r"cannot be read"),
    ],
)
def test_each_mistake_gets_its_line(project: Path, text: str, changes: dict, words: str) -> None:
    write(project, text)
    with pytest.raises(UserError, match=words) as caught:
        read(params_of(TABLE, **changes))
    assert "\n" not in str(caught.value)


def test_a_table_that_is_no_text_is_refused(project: Path) -> None:
    write(project, "")
    (project / "media" / "rows.csv").write_bytes(b"path,label\n\xff\xfe\x00,x\n")
    with pytest.raises(UserError, match="not a UTF-8 CSV"):
        read(params_of(TABLE))


def test_a_table_changed_after_raw_asks_for_raw_again(project: Path) -> None:
    write(project, "path,label\na.mp4,x\nb.mp4,y\n")
    kind = kind_of(params_of(TABLE), "d")
    files = kind.acquire(Path("unused"))
    write(project, "path,label\na.mp4,x\nc.mp4,y\n", ("c.mp4",))
    with pytest.raises(UserError, match=r"line 3: c.mp4 is not in the raw manifest"):
        kind.listing(files)
