"""Download from a git LFS server: resumed, checked, patient, and never outside its folder.

The server is a local one.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from equimodal.datasets.base import FileFact
from equimodal.datasets.fetch import lfs, web
from equimodal.datasets.fetch.lfs import Server, fetch, inside
from equimodal.errors import UserError
from lfs_server import Behaviour, serving

BODY = bytes(range(256)) * 4000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Behaviour]:
    monkeypatch.setattr(web, "PAUSE", 0.0)
    with serving() as behaviour:
        yield behaviour


def get(server: Behaviour, facts: dict[str, FileFact], target: Path) -> None:
    fetch(facts, target, server.url, "datasets.d.url", "https://mirror")


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_files_arrive_whole_and_are_not_fetched_twice(server: Behaviour, tmp_path: Path) -> None:
    facts = {f"AudioWAV/{number}.wav": server.add(b"%d" % number * 1000) for number in range(7)}
    get(server, facts, tmp_path / "copy")
    assert files_below(tmp_path) == sorted(f"copy/{name}" for name in facts)
    for name, fact in facts.items():
        assert (tmp_path / "copy" / name).read_bytes() == server.contents[str(fact.sha256)]
    asked = len(server.gets)
    (tmp_path / "copy" / "AudioWAV" / "3.wav").unlink()
    get(server, facts, tmp_path / "copy")
    assert len(server.gets) == asked + 1


def test_many_files_are_asked_for_in_batches(
    server: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lfs, "BATCH", 3)
    get(server, {f"{number}.wav": server.add(b"%d" % number) for number in range(7)}, tmp_path)
    assert server.batches == [3, 3, 1]


def test_an_interrupted_run_resumes_where_it_stopped(
    server: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"a.flv": server.add(BODY)}
    server.cut[str(facts["a.flv"].sha256)] = 1
    monkeypatch.setattr(web, "ATTEMPTS", 1)
    with pytest.raises(
        UserError,
        match=r"1 of 1 files could not be fetched: a.flv \(broke off at \d+ of 1024000 bytes.*run again to go on",
    ):
        get(server, facts, tmp_path)
    begun = (tmp_path / "a.flv.part").stat().st_size
    assert 0 < begun < len(BODY) and not (tmp_path / "a.flv").exists()
    get(server, facts, tmp_path)
    assert server.gets[-1] == (facts["a.flv"].sha256, f"bytes={begun}-")
    assert (tmp_path / "a.flv").read_bytes() == BODY and files_below(tmp_path) == ["a.flv"]


def test_breaks_within_a_run_are_mended_by_resuming(server: Behaviour, tmp_path: Path) -> None:
    facts = {"a.flv": server.add(BODY)}
    server.cut[str(facts["a.flv"].sha256)] = 3
    get(server, facts, tmp_path)
    assert (tmp_path / "a.flv").read_bytes() == BODY
    assert [wanted is not None for _, wanted in server.gets] == [False, True, True, True]


def test_a_server_without_ranges_starts_over(server: Behaviour, tmp_path: Path) -> None:
    facts = {"a.flv": server.add(BODY)}
    (tmp_path / "a.flv.part").write_bytes(BODY[:1000])
    server.ranges = False
    get(server, facts, tmp_path)
    assert (tmp_path / "a.flv").read_bytes() == BODY


def test_a_corrupted_file_is_refused(server: Behaviour, tmp_path: Path) -> None:
    facts = {"a.flv": server.add(BODY), "b.flv": server.add(b"fine")}
    server.contents[str(facts["a.flv"].sha256)] = BODY[:-1] + b"\0"
    with pytest.raises(UserError, match=r"1 of 2 files could not be fetched: a.flv \(wrong checksum"):
        get(server, facts, tmp_path)
    assert files_below(tmp_path) == ["b.flv"]


def test_a_spoilt_beginning_is_thrown_away_and_fetched_anew(server: Behaviour, tmp_path: Path) -> None:
    facts = {"a.flv": server.add(BODY)}
    (tmp_path / "a.flv.part").write_bytes(b"\xff" * 1000)
    get(server, facts, tmp_path)
    assert (tmp_path / "a.flv").read_bytes() == BODY


def test_more_bytes_than_promised_are_refused(server: Behaviour, tmp_path: Path) -> None:
    facts = {"a.flv": server.add(BODY)}
    server.contents[str(facts["a.flv"].sha256)] = BODY * 2
    with pytest.raises(UserError, match="longer than the 1024000 bytes"):
        get(server, facts, tmp_path)
    assert files_below(tmp_path) == []


def test_a_busy_server_is_asked_again(server: Behaviour, tmp_path: Path) -> None:
    server.busy = 2
    get(server, {"a.wav": server.add(b"x")}, tmp_path)
    assert (tmp_path / "a.wav").read_bytes() == b"x"


def test_a_spent_budget_names_the_mirror(server: Behaviour, tmp_path: Path) -> None:
    server.refuse = "This repository exceeded its LFS budget."
    with pytest.raises(
        UserError, match=r"403.*exceeded its LFS budget.*set datasets.d.url to the mirror https://mirror"
    ):
        get(server, {"a.wav": server.add(b"x")}, tmp_path)


def test_an_object_the_server_lacks_is_named(server: Behaviour, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a.wav \(the server does not have it: Object does not exist"):
        get(server, {"a.wav": FileFact(3, "0" * 64)}, tmp_path)


def test_no_server_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PAUSE", 0.0)
    with pytest.raises(UserError, match=r"no answer from http://127\.0\.0\.1:9"):
        fetch({"a.wav": FileFact(3, "0" * 64)}, tmp_path, "http://127.0.0.1:9/repo", "key", "https://mirror")


def test_too_little_disk_is_said_before_anything_is_fetched(server: Behaviour, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="GB are still to be fetched: free some disk"):
        get(server, {"a.wav": FileFact(10**18, "0" * 64)}, tmp_path)
    assert server.batches == []


@pytest.mark.parametrize("name", ["../a.wav", "/etc/a.wav", "AudioWAV/../../a.wav", "..", "", "a\\..\\b", "a\0b"])
def test_names_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="unsafe file name"):
        inside(tmp_path, name)
    with pytest.raises(UserError, match="unsafe file name"):
        fetch({name: FileFact(1, "0" * 64)}, tmp_path / "copy", "http://127.0.0.1:9", "key", "m")
    assert not (tmp_path / "copy").exists()


def test_only_http_addresses_are_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with pytest.raises(web.WebError, match="not an http address"):
        web.open_url((tmp_path / "secret").as_uri())


@pytest.mark.parametrize("repository", ["https://host/a/b", "https://host/a/b/", "https://host/a/b.git"])
def test_the_batch_address_follows_the_protocol(repository: str) -> None:
    assert Server(repository).batch_url == "https://host/a/b.git/info/lfs/objects/batch"
