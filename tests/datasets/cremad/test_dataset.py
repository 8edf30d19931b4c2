"""CREMA-D from a copy or a download: what is listed, and what is said when something is missing."""

import shutil
from pathlib import Path

import pytest

from equimodal.datasets.cremad.dataset import CLASSES
from equimodal.datasets.fetch import web
from equimodal.datasets.splits import assign
from equimodal.errors import UserError
from lfs_server import serving
from small_datasets import CREMAD, MODALITIES, kind_of, params_of

STEMS = ["1001_DFA_ANG_XX", "1002_IEO_SAD_LO", "1076_MTI_SAD_XX"]


def copy(folder: Path, wavs: list[str], flvs: list[str]) -> None:
    for name, suffix, stems in (("AudioWAV", "wav", wavs), ("VideoFlash", "flv", flvs)):
        (folder / name).mkdir(parents=True)
        for stem in stems:
            (folder / name / f"{stem}.{suffix}").write_bytes(b"media")


def test_a_copy_is_listed_with_actor_and_emotion(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy(project / "copy", STEMS, STEMS)
    (project / "copy" / "AudioWAV" / "notes.wav").write_bytes(b"not a clip")
    kind = kind_of(params_of(CREMAD, source="local", raw="copy", missing_classes="drop"), "d")
    files = kind.acquire(project / "unused")
    listing = kind.listing(files)
    assert set(files) == {f"AudioWAV/{stem}.wav" for stem in STEMS} | {f"VideoFlash/{stem}.flv" for stem in STEMS}
    assert CLASSES == ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG") and listing.classes == ("SAD", "ANG")
    assert list(listing.left_out) == ["NEU", "HAP", "FEA", "DIS"]
    assert [(s.id, s.label, s.group) for s in listing.samples] == [
        (STEMS[0], "ANG", "1001"),
        (STEMS[1], "SAD", "1002"),
        (STEMS[2], "SAD", "1076"),
    ]
    assert listing.samples[0].paths == {
        "audio": "AudioWAV/1001_DFA_ANG_XX.wav",
        "visual": "VideoFlash/1001_DFA_ANG_XX.flv",
    }
    assert "3 clips in copy, CREMA-D has 7,442" in capsys.readouterr().err


def test_the_original_wavs_are_recognised(project: Path, shared: Path) -> None:
    (project / "copy" / "VideoFlash").mkdir(parents=True)
    (project / "copy" / "AudioWAV").symlink_to(shared / "cremad" / "AudioWAV_original_10")
    own = {"missing_classes": "drop", "missing": "zero"}
    kind = kind_of(params_of(CREMAD, source="local", raw="copy", **own), "d")
    samples = kind.listing(kind.acquire(project / "unused")).samples
    assert len(samples) == 10 and all(s.paths["visual"] is None and s.paths["audio"] for s in samples)


def test_a_clip_with_one_file_is_named_and_keeps_the_other(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy(project / "copy", STEMS, STEMS[:2])
    kind = kind_of(params_of(CREMAD, source="local", raw="copy", missing_classes="drop"), "d")
    listing = kind.listing(kind.acquire(project / "unused"))
    assert listing.samples[2].paths == {"audio": "AudioWAV/1076_MTI_SAD_XX.wav", "visual": None}
    assert "1 clips have no .flv file: VideoFlash/1076_MTI_SAD_XX.flv" in capsys.readouterr().err


@pytest.mark.parametrize("there", [[], ["AudioWAV"], ["VideoFlash"]])
def test_a_missing_folder_says_what_where_how_much_and_which_setting(project: Path, there: list[str]) -> None:
    for name in there:
        (project / "copy" / name).mkdir(parents=True)
    with pytest.raises(
        UserError,
        match=r"copy/\w+ is missing: get CREMA-D from https://github.com/.*3.0 GB.*datasets.d.raw or datasets.d.source",
    ) as caught:
        kind_of(params_of(CREMAD, source="local", raw="copy"), "d").acquire(project / "unused")
    assert "\n" not in str(caught.value)


def test_empty_folders_and_folders_that_are_rebuilt_are_refused(project: Path) -> None:
    copy(project / "copy", [], [])
    with pytest.raises(UserError, match="no CREMA-D clip"):
        kind_of(params_of(CREMAD, source="local", raw="copy"), "d").acquire(project / "unused")
    with pytest.raises(UserError, match=r"data/d/raw/mine lies inside data/d/raw, which is rebuilt"):
        kind_of(params_of(CREMAD, source="local", raw="data/d/raw/mine"), "d").acquire(project / "unused")


def test_names_that_are_not_published_are_no_further_clips(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1040_ITH_SAD_X and a copy named so beside ..._XX: both were seen in users' folders."""
    copy(project / "copy", [*STEMS, "1002_IEO_SAD_X", "1040_ITH_SAD_X"], STEMS)
    kind = kind_of(params_of(CREMAD, source="local", raw="copy", missing_classes="drop"), "d")
    files = kind.acquire(project / "unused")
    assert [s.id for s in kind.listing(files).samples] == STEMS
    assert (
        "2 files in copy have no name of CREMA-D's and are left out: AudioWAV/1002_IEO_SAD_X.wav,"
        " AudioWAV/1040_ITH_SAD_X.wav" in capsys.readouterr().err
    )


@pytest.mark.parametrize(("modality", "folder"), [("audio", "AudioWAV"), ("visual", "VideoFlash")])
def test_a_single_modality_does_not_insist_on_the_others_folder(
    project: Path, modality: str, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    copy(project / "copy", STEMS, STEMS)
    other = {"AudioWAV": "VideoFlash", "VideoFlash": "AudioWAV"}[folder]
    shutil.rmtree(project / "copy" / other)
    alone = {**CREMAD, "modalities": {modality: MODALITIES[modality]}}
    kind = kind_of(params_of(alone, source="local", raw="copy", missing_classes="drop"), "d")
    files = kind.acquire(project / "unused")
    assert [list(s.paths) for s in kind.listing(files).samples] == [[modality]] * 3
    assert other not in capsys.readouterr().err
    both = kind_of(params_of(CREMAD, source="local", raw="copy"), "d")
    with pytest.raises(UserError, match=rf"no file of {other}/ in the raw manifest, .* run raw again, or take"):
        both.listing(files)


def pointer(path: Path) -> None:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 57702\n")


def test_a_clone_without_lfs_says_what_to_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy(project / "copy", STEMS, STEMS)
    for path in (project / "copy" / "VideoFlash").iterdir():
        pointer(path)
    kind = kind_of(params_of(CREMAD, source="local", raw="copy"), "d")
    with pytest.raises(
        UserError,
        match=r"3 of 6 files in copy are git LFS pointers, not media \(VideoFlash/.*\): run: git -C copy lfs install"
        r" --local && git -C copy lfs pull .* or set datasets\.d\.source: download",
    ):
        kind.acquire(project / "unused")
    (project / "copy/VideoFlash" / f"{STEMS[0]}.flv").write_bytes(b"media")
    assert len(kind.acquire(project / "unused")) == 6  # single ones are the index's to reject
    assert "2 of 6 files in copy are git LFS pointers" in capsys.readouterr().err
    audio = kind_of(
        params_of({**CREMAD, "modalities": {"audio": MODALITIES["audio"]}}, source="local", raw="copy"), "d"
    )
    audio.acquire(project / "unused")
    assert "pointers" not in capsys.readouterr().err  # nothing is read from those


def test_the_published_split_of_some_classes(project: Path) -> None:
    (project / "lists").mkdir()
    (project / "lists/train.csv").write_text("1001_DFA_ANG_XX,ANG\n1002_DFA_FEA_XX,FEA\n1003_DFA_SAD_XX,SAD\n")
    (project / "lists/test.csv").write_text("1002_IEO_SAD_LO,SAD\n1004_DFA_ANG_XX,ANG\n")
    stems = ["1001_DFA_ANG_XX", "1002_IEO_SAD_LO", "1003_DFA_SAD_XX", "1004_DFA_ANG_XX"]
    copy(project / "copy", stems, stems)
    ogm = {"split": {"rule": "ogm", "lists": "lists", "validation_by": "stratified", "validation": 0.3}}
    for how in ({"classes": ["ANG", "SAD"]}, {"missing_classes": "drop"}):
        kind = kind_of(params_of(CREMAD, source="local", raw="copy", **ogm, **how), "d")
        listing = kind.listing(kind.acquire(project / "unused"))
        assert listing.classes == ("SAD", "ANG")
        assert listing.lists == {
            "train": {"1001_DFA_ANG_XX", "1003_DFA_SAD_XX"},
            "test": {"1002_IEO_SAD_LO", "1004_DFA_ANG_XX"},
        }
        assert set(assign(listing, kind.settings.split, "d")) == set(stems)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (["ANG", "SAD", "ANG"], "classes names ANG twice"),
        (["ANG"], "at least 2 items"),
    ],
)
def test_a_choice_of_classes_that_is_none_is_refused(classes: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        params_of(CREMAD, classes=classes)


def test_an_unknown_class_is_named_with_the_nearest(project: Path) -> None:
    copy(project / "copy", STEMS, STEMS)
    kind = kind_of(params_of(CREMAD, source="local", raw="copy", classes=["ANGRY", "SAD"]), "d")
    with pytest.raises(UserError, match=r"datasets\.d\.classes names ANGRY, .* 6 classes of d; did you mean 'ANG'"):
        kind.listing(kind.acquire(project / "unused"))


def test_a_split_column_is_refused(project: Path) -> None:
    with pytest.raises(UserError, match=r"datasets.d.split.rule = 'column': .* 'actor', 'ogm' or 'stratified'$"):
        params_of(CREMAD, split={"rule": "column"})


def test_a_download_ends_as_a_copy(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PAUSE", 0.0)
    names = [f"AudioWAV/{stem}.wav" for stem in STEMS] + [f"VideoFlash/{stem}.flv" for stem in STEMS]
    with serving() as server:
        facts = {name: server.add(name.encode() * 500) for name in names}
        server.cut[str(facts[names[0]].sha256)] = 1
        (project / "facts.csv").write_text(
            "path,sha256,bytes\n" + "".join(f"{name},{fact.sha256},{fact.bytes}\n" for name, fact in facts.items())
        )
        params = params_of(CREMAD, source="download", raw="copy", url=server.url, manifest="facts.csv")
        kind = kind_of(params, "d")
        files = kind.acquire(project / "unused")
    assert {name: fact.bytes for name, fact in files.items()} == {name: fact.bytes for name, fact in facts.items()}
    assert kind.expected(files) == facts
    assert kind.root == "copy"
