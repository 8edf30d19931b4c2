"""Published facts about CREMA-D: manifest, LFS pointers and split lists, each checked against its pin."""

from pathlib import Path

import pytest

from equimodal.datasets.base import FileFact
from equimodal.datasets.cremad import public as cremad_public
from equimodal.datasets.cremad.public import (
    CLIPS,
    ORIGIN_BYTES,
    check_pinned,
    facts_text,
    load_facts,
    ogm_lists,
    pointer_facts,
    possible_files,
    published_files,
    read_facts,
)
from equimodal.datasets.fetch import web
from equimodal.errors import UserError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


def test_the_shared_manifest_is_the_pinned_one(shared: Path) -> None:
    facts = read_facts(shared / "cremad" / "lfs_manifest.csv", "key")
    check_pinned(facts, "manifest", "key")
    assert len(facts) == 2 * CLIPS and sum(fact.bytes for fact in facts.values()) == ORIGIN_BYTES
    assert set(facts) < set(possible_files()) and len(possible_files()) == 2 * (CLIPS + 20)
    assert set(facts) == set(published_files())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,bytes\n", "no column sha256"),
        ("path,sha256,bytes\nREADME.md,aa,1\n", "lists no"),
        ("path,sha256,bytes\nAudioWAV/1001_DFA_ANG_XX.wav,aa,big\n", "proper manifest"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_facts(tmp_path / "m.csv", "datasets.d.manifest")
    with pytest.raises(UserError, match=r"set datasets.d.manifest"):
        load_facts(str(tmp_path / "none.csv"), tmp_path, "datasets.d.manifest")


def test_pointers_are_read_and_absent_names_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"AudioWAV/1001_DFA_ANG_XX.wav": POINTER.format("a" * 64, 12)}

    def get(url: str, most: int) -> bytes:
        name = "/".join(url.split("/")[-2:])
        if name not in there:
            raise web.WebError("gone", 404)
        return there[name].encode()

    monkeypatch.setattr(cremad_public, "get", get)
    names = ["AudioWAV/1001_DFA_ANG_XX.wav", "VideoFlash/1001_DFA_ANG_XX.flv"]
    assert pointer_facts("http://x", names, "key") == {names[0]: FileFact(12, "a" * 64)}
    there[names[1]] = "<html>not a pointer</html>"
    with pytest.raises(UserError, match="not a git LFS pointer"):
        pointer_facts("http://x", names, "key")


MIRROR_RAW = "https://mirror.org/crema-d/raw"


@pytest.mark.parametrize("answer", ["pointer", "clip", "page", "gone"])
def test_a_mirror_s_pointers_are_read_from_it_if_it_has_them(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    asked = []

    def get(url: str, most: int) -> bytes:
        asked.append(url)
        if url.startswith(MIRROR_RAW) and answer in ("clip", "gone"):
            raise web.WebError("longer", 413) if answer == "clip" else web.WebError("no answer from it")
        return b"<html>" if url.startswith(MIRROR_RAW) and answer == "page" else POINTER.format("a" * 64, 12).encode()

    monkeypatch.setattr(cremad_public, "get", get)
    for url in ("https://mirror.org/crema-d", "https://mirror.org/crema-d.git"):
        assert cremad_public.pointer_home(url, "key") == (MIRROR_RAW if answer == "pointer" else cremad_public.POINTERS)
    assert asked[0] == f"{MIRROR_RAW}/{cremad_public.COMMITS['AudioWAV']}/AudioWAV/1001_DFA_ANG_XX.wav"
    assert (
        cremad_public.pointer_home(None, "key")
        == cremad_public.pointer_home(cremad_public.HOME + "/", "key")
        == cremad_public.POINTERS
    )


def test_without_any_pointers_one_line_asks_for_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(url: str, most: int) -> bytes:
        raise web.WebError("longer", 413) if url.startswith(MIRROR_RAW) else web.WebError("no answer from GitHub")

    monkeypatch.setattr(cremad_public, "get", get)
    said = (
        r"no LFS pointers .*mirror\.org/crema-d/raw/.* is a file, not its LFS pointer; no answer from"
        r" GitHub\): set datasets\.d\.manifest to a CSV"
    )
    with pytest.raises(UserError, match=said) as caught:
        load_facts(None, tmp_path, "datasets.d.manifest", "https://mirror.org/crema-d")
    assert "\n" not in str(caught.value)


def test_pointers_that_are_not_the_pinned_ones_are_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cremad_public, "get", lambda url, most: POINTER.format("b" * 64, 5).encode())
    with pytest.raises(UserError, match="not the pinned"):
        load_facts(None, tmp_path, "datasets.d.manifest")
    assert not (tmp_path / "lfs_manifest.csv").exists()


def test_pinned_facts_are_kept_for_the_next_time(tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = read_facts(shared / "cremad" / "lfs_manifest.csv", "key")
    monkeypatch.setattr(cremad_public, "pointer_facts", lambda *_: facts)
    assert load_facts(None, tmp_path, "key") == facts
    monkeypatch.setattr(cremad_public, "pointer_facts", lambda *_: pytest.fail("asked the network twice"))
    assert load_facts(None, tmp_path, "key") == facts
    (tmp_path / "lfs_manifest.csv").write_text("path,sha256,bytes\n" + facts_text(dict(list(facts.items())[1:])))
    with pytest.raises(UserError, match="not the pinned"):
        load_facts(None, tmp_path, "key")


def test_the_ogm_lists_from_a_folder_and_from_the_network(
    project: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shared / "splits" / "cremad_ogm"
    lists = ogm_lists(str(folder), "key")
    assert (len(lists["train"]), len(lists["test"])) == (6698, 744)
    tried = []

    def get(url: str, most: int) -> bytes:
        tried.append(url)
        if "/343dc1d/" in url:
            raise web.WebError("gone", 404)
        return (folder / url.rsplit("/", 1)[1]).read_bytes()

    monkeypatch.setattr(cremad_public, "get", get)
    assert ogm_lists(None, "key") == lists
    assert len(tried) == 4
    assert ogm_lists(None, "key") == lists and len(tried) == 4  # kept
    cached = project / cremad_public.OGM_CACHE / "test.csv"
    cached.write_bytes(b"\n".join(cached.read_bytes().splitlines()[1:]))
    with pytest.raises(UserError, match="checksum differs"):
        ogm_lists(None, "key")


def test_downloaded_lists_that_differ_are_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cremad_public, "get", lambda url, most: b"1001_DFA_ANG_XX,ANG\n")
    with pytest.raises(UserError, match=r"is not the pinned list; set datasets.d.split.lists"):
        ogm_lists(None, "datasets.d.split.lists")
    assert not cremad_public.OGM_CACHE.exists()


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        ("1001_DFA_ANG_XX,SAD\n", "1002_DFA_ANG_XX,ANG\n", r"train.csv, line 1: '1001_DFA_ANG_XX,SAD' is not"),
        ("1001_DFA_ANG_XX\n", "1002_DFA_ANG_XX,ANG\n", r"is not 'stem,LABEL'"),
        ("1001_DFA_ANG_XX,ANG\n", "1001_DFA_ANG_XX,ANG\n", r"1 clips are in both"),
        ("1001_DFA_ANG_XX,ANG\n", None, r"test.csv cannot be read"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(tmp_path: Path, train: str, test: str | None, words: str) -> None:
    (tmp_path / "train.csv").write_bytes(b"\xef\xbb\xbf" + train.encode())
    if test is not None:
        (tmp_path / "test.csv").write_text(test)
    with pytest.raises(UserError, match=words):
        ogm_lists(str(tmp_path), "datasets.d.split.lists")
