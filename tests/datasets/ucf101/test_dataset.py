"""UCF-101 from its sample or a copy: what is listed, and what is said where list and folder disagree."""

import textwrap
from pathlib import Path

import pytest
import yaml

from equimodal.datasets.base import FileFact
from equimodal.datasets.splits import assign
from equimodal.datasets.ucf101.settings import Ucf101Settings
from equimodal.errors import UserError
from equimodal.params import parse_params
from equimodal.stages import index, raw
from equimodal.store import read_json
from small_datasets import UCF101, kind_of, params_of

CLASSES = "1 Archery\n2 HandstandPushups\n"
TRAIN = "Archery/v_Archery_g02_c01.avi 1\nHandstandPushups/v_HandStandPushups_g02_c01.avi 2\n"
TEST = "Archery/v_Archery_g01_c01.avi\nHandstandPushups/v_HandStandPushups_g01_c01.avi\n"
CLIPS = [
    "Archery/v_Archery_g01_c01",
    "Archery/v_Archery_g02_c01",
    "HandstandPushups/v_HandStandPushups_g01_c01",
    "HandstandPushups/v_HandStandPushups_g02_c01",
]


def lists(folder: Path, **texts: str) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in {"classInd": CLASSES, "trainlist01": TRAIN, "testlist01": TEST, **texts}.items():
        (folder / f"{name}.txt").write_text(text)
    return folder.name


def copy(folder: Path, clips: list[str], flat: bool = False) -> str:
    for clip in clips:
        path = folder / f"{clip.rpartition('/')[2] if flat else clip}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"clip")
    return folder.parts[-1]


def local(**changes: object) -> dict:
    return {"source": "local", "raw": "copy", "split": {"lists": "lists"}, **changes}


@pytest.mark.parametrize("layout", ["UCF-101/Class", "Class", "flat"])
def test_a_copy_is_listed_whatever_its_layout(project: Path, layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    lists(project / "lists")
    copy(project / "copy" / "UCF-101" if layout.startswith("UCF") else project / "copy", CLIPS, flat=layout == "flat")
    kind = kind_of(params_of(UCF101, **local()), "d")
    files = kind.acquire(project / "unused")
    listing = kind.listing(files)
    assert listing.classes == ("Archery", "HandstandPushups")
    assert [(s.id, s.label, s.group) for s in listing.samples] == [
        ("v_Archery_g01_c01", "Archery", "g01"),
        ("v_Archery_g02_c01", "Archery", "g02"),
        ("v_HandStandPushups_g01_c01", "HandstandPushups", "g01"),
        ("v_HandStandPushups_g02_c01", "HandstandPushups", "g02"),
    ]
    prefix = {"UCF-101/Class": "UCF-101/Archery/", "Class": "Archery/", "flat": ""}[layout]
    assert listing.samples[0].paths == {
        "rgb": f"{prefix}v_Archery_g01_c01.avi",
        "flow": f"{prefix}v_Archery_g01_c01.avi",
    }
    assert "4 clips in copy, UCF-101 has 13,320" in capsys.readouterr().err


def test_list_and_folder_that_disagree_are_one_line(project: Path) -> None:
    lists(project / "lists")
    copy(project / "copy", [*CLIPS[1:], "Archery/v_Archery_g09_c09"])
    kind = kind_of(params_of(UCF101, **local()), "d")
    with pytest.raises(
        UserError,
        match=r"1 clips in copy are on neither list \(v_Archery_g09_c09\), and 1 listed clips are not"
        r" .*\(v_Archery_g01_c01\)",
    ):
        kind.listing(kind.acquire(project / "unused"))


def test_a_listed_clip_that_is_absent_is_named_and_kept_for_the_rejected(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists(project / "lists")
    copy(project / "copy", CLIPS[1:])
    kind = kind_of(params_of(UCF101, **local()), "d")
    listing = kind.listing(kind.acquire(project / "unused"))
    assert [s.id for s in listing.samples if s.paths["rgb"] is None] == ["v_Archery_g01_c01"]
    assert "1 of 4 listed clips are not in copy: v_Archery_g01_c01" in capsys.readouterr().err


def test_clips_of_no_class_and_twins_are_refused(project: Path) -> None:
    lists(project / "lists")
    copy(project / "copy", [*CLIPS, "Fencing/v_Fencing_g01_c01"])
    kind = kind_of(params_of(UCF101, **local()), "d")
    with pytest.raises(
        UserError, match=r"1 clips in copy are of no class of lists/classInd\.txt .* datasets\.d\.classes"
    ):
        kind.listing(kind.acquire(project / "unused"))
    copy(project / "copy", CLIPS[:1], flat=True)
    with pytest.raises(UserError, match=r"v_Archery_g01_c01 is there twice"):
        kind.acquire(project / "unused")


def test_some_classes_are_used_with_the_official_lists_and_numbered_anew(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = "".join(f"Rowing/v_Rowing_g{group:02d}_c01.avi{' 3' if group > 1 else ''}\n" for group in (1, 2))
    test, train = more.splitlines(keepends=True)
    lists(project / "lists", classInd=CLASSES + "3 Rowing\n", trainlist01=TRAIN + train, testlist01=TEST + test)
    copy(project / "copy", [*CLIPS[2:], "Rowing/v_Rowing_g01_c01", "Rowing/v_Rowing_g02_c01"])
    with pytest.raises(
        UserError,
        match=r"^d: 1 of 3 classes have no clip in copy \(Archery\): complete the copy, or set"
        r" datasets\.d\.missing_classes: drop to use the 2 that are there \(HandstandPushups, Rowing\), or"
        r" datasets\.d\.classes to your choice$",
    ):
        kind = kind_of(params_of(UCF101, **local()), "d")
        kind.listing(kind.acquire(project / "unused"))
    chosen = {"classes": ["Rowing", "HandstandPushups"]}  # the order is the dataset's all the same
    for how, reason in ((chosen, "not among"), ({"missing_classes": "drop"}, "no clip in the copy")):
        kind = kind_of(params_of(UCF101, **local(**how)), "d")
        listing = kind.listing(kind.acquire(project / "unused"))
        assert listing.classes == ("HandstandPushups", "Rowing")
        assert [s.id for s in listing.samples] == [
            "v_HandStandPushups_g01_c01",
            "v_HandStandPushups_g02_c01",
            "v_Rowing_g01_c01",
            "v_Rowing_g02_c01",
        ]
        assert list(listing.left_out) == ["Archery"] and listing.left_out["Archery"].startswith(reason)
        assert "listed clips are not in" not in capsys.readouterr().err  # Archery's are not missed
    copy(project / "copy", ["Fencing/v_Fencing_g01_c01", "Archery/v_Archery_g09_c09"])  # of no class, on no list
    kind = kind_of(params_of(UCF101, **local(**chosen)), "d")
    assert len(kind.listing(kind.acquire(project / "unused")).samples) == 4


def test_all_that_an_incomplete_copy_needs_is_said_at_once(project: Path) -> None:
    lists(
        project / "lists",
        classInd=CLASSES + "3 Rowing\n",
        trainlist01=TRAIN + "Rowing/v_Rowing_g02_c01.avi 3\n",
        testlist01=TEST + "Rowing/v_Rowing_g01_c01.avi\n",
    )
    copy(project / "copy", [CLIPS[0], *CLIPS[2:]])
    kind = kind_of(params_of(UCF101, **local()), "d")
    with pytest.raises(
        UserError,
        match=r"missing_classes: drop .*; of their 4 listed clips 3 are there: datasets\.d\.max_rejected: 0\.25 allows",
    ):
        kind.listing(kind.acquire(project / "unused"))


def test_six_real_classes_with_the_real_lists(project: Path, shared: Path) -> None:
    folder = shared / "splits" / "ucf101"
    there = ["Archery", "Basketball", "BenchPress", "HandstandPushups", "Rowing", "YoYo"]
    names = [
        line.split()[0]
        for part in ("train", "test")
        for line in (folder / f"{part}list01.txt").read_text().splitlines()
        if line.split("/")[0] in there
    ]
    files = {f"UCF-101/{name}": FileFact(1) for name in names}
    kind = kind_of(params_of(UCF101, **local(split={"lists": str(folder)})), "d")
    with pytest.raises(
        UserError, match=r"95 of 101 classes have no clip .*missing_classes: drop .*\(Archery, .*YoYo\)"
    ):
        kind.listing(files)
    kind = kind_of(params_of(UCF101, **local(split={"lists": str(folder)}, missing_classes="drop")), "d")
    listing = kind.listing(files)
    assert listing.classes == tuple(there) and len(listing.left_out) == 95
    assert {s.label for s in listing.samples} == set(there) and all(s.paths["rgb"] for s in listing.samples)
    split = assign(listing, kind.settings.split, "d")
    assert sum(part == "test" for part in split.values()) == sum(
        line.split("/")[0] in there for line in (folder / "testlist01.txt").read_text().splitlines()
    )


def test_a_wrong_id_in_a_real_list_is_the_fault_that_is_named(project: Path, shared: Path) -> None:
    folder = shared / "splits" / "ucf101"
    texts = {name: (folder / f"{name}.txt").read_text() for name in ("classInd", "trainlist01", "testlist01")}
    lines = texts["trainlist01"].splitlines(keepends=True)
    clip, number = lines[4999].split()
    lines[4999] = f"{clip} {int(number) + 1}\n"
    lists(project / "lists", **{**texts, "trainlist01": "\n" + "".join(lines)})  # an empty line counts, too
    kind = kind_of(params_of(UCF101, **local()), "d")
    with pytest.raises(
        UserError, match=rf"^lists/trainlist01\.txt, line 5001: '.*' has class id {int(number) + 1}, but"
    ):
        kind.listing({"UCF-101/Archery/v_Archery_g01_c01.avi": FileFact(1)})


def test_a_missing_copy_says_what_where_and_how_much(project: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"UCF-101's folder copy is missing: get UCF101.rar \(6.9 GB\) from https://.* datasets.d.raw or"
        r" datasets.d.source",
    ) as caught:
        kind_of(params_of(UCF101, **local()), "d").acquire(project / "unused")
    assert "\n" not in str(caught.value)
    (project / "copy").mkdir()
    with pytest.raises(UserError, match="no UCF-101 clip"):
        kind_of(params_of(UCF101, **local()), "d").acquire(project / "unused")
    with pytest.raises(UserError, match="which is rebuilt"):
        kind_of(params_of(UCF101, **local(raw="data/d/raw/mine")), "d").acquire(project / "unused")


def test_the_real_lists_divide_a_full_copy_as_published(project: Path, shared: Path) -> None:
    folder = shared / "splits" / "ucf101"
    names = [
        line.split()[0]
        for part in ("train", "test")
        for line in (folder / f"{part}list02.txt").read_text().splitlines()
    ]
    kind = kind_of(params_of(UCF101, **local(split={"lists": str(folder), "list": 2})), "d")
    listing = kind.listing({f"UCF-101/{name}": FileFact(1) for name in names})
    split = assign(listing, kind.settings.split, "d")
    assert (len(listing.classes), len(split)) == (101, 13320)
    assert sum(part == "test" for part in split.values()) == 3734
    groups = {part: {s.group for s in listing.samples if split[s.id] == part} for part in ("train", "val", "test")}
    assert groups["test"] == {f"g{number:02d}" for number in range(8, 15)}
    assert not groups["train"] & groups["val"] and len(groups["val"]) == 3
    assert {s.label for s in listing.samples if split[s.id] == "val"} == set(listing.classes)


def test_the_sample_goes_through_raw_and_index(project: Path) -> None:
    params = params_of(UCF101, split={"list": 2})
    raw.run(params, "d")
    index.run(params, "d")
    content = read_json(Path("data/d/index.json"))
    assert content["classes"] == ["CliffDiving", "PullUps", "SkyDiving"]
    assert content["split"]["list"] == 2 and content["split"]["rule"] == "lists"
    assert {s["group"] for s in content["samples"] if s["split"] == "test"} == {"g03", "g04"}
    assert len(content["samples"]) == 18 and not content["rejected"]


@pytest.mark.parametrize("rule", ["actor", "stratified"])
def test_other_rules_need_no_official_division(project: Path, rule: str) -> None:
    lists(project / "lists")
    copy(project / "copy", CLIPS[1:])
    kind = kind_of(params_of(UCF101, **local(split={"lists": "lists", "rule": rule, "folds": 2})), "d")
    listing = kind.listing(kind.acquire(project / "unused"))
    assert listing.lists is None and len(listing.samples) == 3


@pytest.mark.parametrize("rule", ["column", "ogm"])
def test_rules_of_other_datasets_are_refused(rule: str) -> None:
    with pytest.raises(UserError, match=f"datasets.d.split.rule = '{rule}': .* 'lists', 'actor' or 'stratified'$"):
        params_of(UCF101, split={"rule": rule})


@pytest.mark.parametrize("protocol", ["bench", "bml"])
def test_a_protocol_fills_in_what_is_not_given(protocol: str) -> None:
    own = {"kind": "ucf101", "protocol": protocol, "training": {"epochs": 7}}
    study = {"datasets": ["d"], "from-scratch": [], "from-warmup": [], "warmups": [], "fits": [], "seeds": [0]}
    params = parse_params({"study": study, "datasets": {"d": own}, "methods": {}})
    data, training = params.dataset("d"), params.training_of("d")
    assert isinstance(data, Ucf101Settings)
    assert list(data.modalities) == ["rgb", "flow"]
    assert data.modalities["flow"].channels == {"bench": 2, "bml": 3}[protocol]
    assert (data.modalities["flow"].compute_size, data.modalities["rgb"].pick) == ((240, 320), 3)
    assert (training.epochs, training.optimizer.name, training.batch_size) == (
        7,
        *{"bench": ("adamw", 32), "bml": ("sgd", 64)}[protocol],
    )
    assert (params.model_of("d").width, params.model_of("d").weights) == (64, "download")


@pytest.mark.parametrize("name", ["ucf101", "ucf101-part"])
def test_settings_shown_in_the_docs_are_accepted(root: Path, name: str) -> None:
    text = (root / "docs" / "datasets" / "ucf101.md").read_text(encoding="utf-8")
    block = text[text.index(f"    {name}:\n") :].split("\n\n")[0]
    study = {"datasets": [name], "from-scratch": [], "from-warmup": [], "warmups": [], "fits": [], "seeds": [0]}
    params = parse_params({"study": study, "datasets": yaml.safe_load(textwrap.dedent(block)), "methods": {}})
    assert (params.dataset(name).protocol, params.training_of(name).batch_size) == ("bench", 32)
