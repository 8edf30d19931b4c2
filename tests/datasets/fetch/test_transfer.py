"""The one transfer under every download: resumed, checked, and clear about whose fault it is."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from equimodal.datasets.base import FileFact
from equimodal.datasets.fetch import transfer, web
from equimodal.datasets.fetch.lfs import fetch
from equimodal.datasets.fetch.transfer import begun, download
from equimodal.datasets.fetch.web import WebError
from equimodal.errors import UserError
from lfs_server import Behaviour, serving

BODY = bytes(range(256)) * 4000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Behaviour]:
    monkeypatch.setattr(web, "PAUSE", 0.0)
    with serving() as behaviour:
        yield behaviour


def address(server: Behaviour, fact: FileFact) -> str:
    return f"{server.url}/objects/{fact.sha256}"


@pytest.mark.parametrize("known", [True, False])
def test_breaks_are_mended_by_going_on(server: Behaviour, tmp_path: Path, known: bool) -> None:
    fact, path = server.add(BODY), tmp_path / "new" / "a.zip"
    server.cut[str(fact.sha256)] = 3
    download(address(server, fact), path, fact if known else None)
    assert path.read_bytes() == BODY and begun(path) == 0
    assert [wanted is not None for _, wanted in server.gets] == [False, True, True, True]


@pytest.mark.parametrize("known", [True, False])
def test_a_longer_leftover_of_another_file_is_thrown_away(server: Behaviour, tmp_path: Path, known: bool) -> None:
    fact, path = server.add(BODY), tmp_path / "a.zip"
    path.with_name("a.zip.part").write_bytes(BODY * 2)
    server.beyond = True
    download(address(server, fact), path, fact if known else None)
    assert path.read_bytes() == BODY


def test_a_shorter_file_than_the_manifest_s_is_no_interruption(server: Behaviour, tmp_path: Path) -> None:
    fact = server.add(BODY)
    with pytest.raises(WebError, match=r"^a.zip is not the file of the manifest: 1024000 bytes, not 1024001$"):
        download(address(server, fact), tmp_path / "a.zip", FileFact(fact.bytes + 1, fact.sha256))
    assert list(tmp_path.iterdir()) == [] and len(server.gets) == 1


def test_a_longer_file_than_the_manifest_s_is_not_read_to_its_end(server: Behaviour, tmp_path: Path) -> None:
    fact = server.add(BODY)
    with pytest.raises(WebError, match=r"a.zip is not the file of the manifest: longer than the 1000 bytes"):
        download(address(server, fact), tmp_path / "a.zip", FileFact(1000, fact.sha256))
    assert list(tmp_path.iterdir()) == [] and len(server.gets) == 1


@pytest.mark.parametrize("error", [ssl.SSLError("record layer failure"), TimeoutError("timed out")])
def test_a_connection_that_fails_is_tried_again(
    server: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    fact, path, troubles = server.add(BODY), tmp_path / "a.zip", [error]

    def opened(*asked: object) -> object:
        answer = web.open_url(*asked)  # type: ignore[arg-type]
        read = answer.read

        def once(most: int) -> bytes:
            if troubles:
                raise troubles.pop()
            return read(most)

        monkeypatch.setattr(answer, "read", once)
        return answer

    monkeypatch.setattr(transfer, "open_url", opened)
    download(address(server, fact), path, fact)
    assert path.read_bytes() == BODY and not troubles


def test_a_full_disk_is_said_and_not_tried_again(server: Behaviour, tmp_path: Path) -> None:
    fact = server.add(BODY)
    (tmp_path / "a.zip.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        download(address(server, fact), tmp_path / "a.zip", fact)
    with pytest.raises(UserError, match="no space left while writing"):
        fetch({"a.zip": fact}, tmp_path, server.url, "key", "https://mirror")
    assert len(server.gets) == 2
