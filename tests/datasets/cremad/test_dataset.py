"""CREMA-D from a copy or a download: what is listed, and what is said when something is missing."""

from pathlib import Path

import pytest

from equimodal.datasets.cremad.dataset import CLASSES
from equimodal.datasets.fetch import web
from equimodal.errors import UserError
from lfs_server import serving
from small_datasets import CREMAD, kind_of, params_of

STEMS = ["1001_DFA_ANG_XX", "1002_IEO_SAD_LO", "1076_MTI_SAD_XX"]


def copy(folder: Path, wavs: list[str], flvs: list[str]) -> None:
    for name, suffix, stems in (("AudioWAV", "wav", wavs), ("VideoFlash", "flv", flvs)):
        (folder / name).mkdir(parents=True)
        for stem in stems:
            (folder / name / f"{stem}.{suffix}").write_bytes(b"media")


def test_a_copy_is_listed_with_actor_and_emotion(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy(project / "copy", STEMS, STEMS)
    (project / "copy" / "AudioWAV" / "notes.wav").write_bytes(b"not a clip")
    kind = kind_of(params_of(CREMAD, source="local", raw="copy"), "d")
    files = kind.acquire(project / "unused")
    listing = kind.listing(files)
    assert set(files) == {f"AudioWAV/{stem}.wav" for stem in STEMS} | {f"VideoFlash/{stem}.flv" for stem in STEMS}
    assert listing.classes == CLASSES == ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
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
    kind = kind_of(params_of(CREMAD, source="local", raw="copy"), "d")
    samples = kind.listing(kind.acquire(project / "unused")).samples
    assert len(samples) == 10 and all(s.paths["visual"] is None and s.paths["audio"] for s in samples)


def test_a_clip_with_one_file_is_named_and_keeps_the_other(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy(project / "copy", STEMS, STEMS[:2])
    kind = kind_of(params_of(CREMAD, source="local", raw="copy"), "d")
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
