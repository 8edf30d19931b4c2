"""UCF-101 fetched from a server on this machine:
an archive that another program unpacks, or a mirror of plain files.
"""

import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from equimodal.datasets.fetch import web
from equimodal.datasets.ucf101 import download as ucf101_download
from equimodal.errors import UserError
from small_datasets import UCF101, kind_of, params_of

CLIPS = {
    "Archery/v_Archery_g01_c01.avi": b"one" * 1000,
    "HandstandPushups/v_HandStandPushups_g01_c01.avi": b"two" * 1000,
}


class Handler(SimpleHTTPRequestHandler):
    """Files, and parts of files as a resumed transfer asks for them."""

    asked: ClassVar[list[tuple[str, str | None]]] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Range")))
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        begin = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        self.wfile.write(content[begin:])


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    Handler.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to serve: the clips, and an archive with them, an unlisted file and a link in it."""
    monkeypatch.setattr(web, "PAUSE", 0.0)
    for name, content in {
        **{f"UCF-101/{name}": content for name, content in CLIPS.items()},
        "UCF-101/readme.sh": b"#!",
    }.items():
        path = project / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (project / "site" / "UCF-101" / "Archery" / "v_Archery_g01_c09.avi").symlink_to("/etc/passwd")
    with tarfile.open(project / "site" / "UCF101.rar", "w") as file:
        file.add(project / "site" / "UCF-101", "UCF-101")
    return project / "site"


@pytest.fixture
def unrar(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of this name first on PATH, which unpacks tar in place of RAR and notes how it was called."""
    program = project / "bin" / "unrar"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@" >> "$(dirname "$0")/called"\nfor last; do before=$archive;'
        ' archive=$last; done\nexec tar -xf "$before" -C "$last"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def archive_settings(site: Path, url: str, **changes: object) -> dict:
    content = (site / "UCF101.rar").read_bytes()
    own = {
        "source": "download",
        "raw": "my copy; rm -rf x",
        "url": f"{url}/UCF101.rar",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return {**own, **changes}


def test_an_archive_is_fetched_resumed_checked_and_unpacked_without_a_shell(
    site: Path, unrar: Path, project: Path
) -> None:
    raw = project / "my copy; rm -rf x"
    raw.mkdir()
    (raw / "UCF101.rar.part").write_bytes((site / "UCF101.rar").read_bytes()[:3000])
    with serving(site) as url:
        kind = kind_of(params_of(UCF101, **archive_settings(site, url)), "d")
        files = kind.acquire(project / "unused")
        assert kind.acquire(project / "unused") == files
    assert Handler.asked == [("/UCF101.rar", "bytes=3000-")]
    assert set(files) == {
        "UCF-101/Archery/v_Archery_g01_c01.avi",
        "UCF-101/HandStandPushups/v_HandStandPushups_g01_c01.avi",
    }
    assert (raw / "UCF-101/Archery/v_Archery_g01_c01.avi").read_bytes() == CLIPS["Archery/v_Archery_g01_c01.avi"]
    called = (unrar.parent / "called").read_text().splitlines()
    assert (
        called[:6] == ["x", "-o+", "-y", "-p-", "-inul", "--"]
        and called[6] == str(raw / "UCF101.rar")
        and len(called) == 8
    )
    assert sorted(path.name for path in raw.iterdir()) == ["UCF-101", "UCF101.rar", "UCF101.rar.unpacked"]


def test_an_archive_without_a_pin_is_checked_by_size_and_its_checksum_told(
    site: Path, unrar: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(site) as url:
        settings = archive_settings(site, url, sha256=None)
        kind_of(params_of(UCF101, **settings), "d").acquire(project / "unused")
    assert (
        f"has sha256 {archive_settings(site, '')['sha256']}: no checksum is published; set datasets.d.sha256"
        in capsys.readouterr().err
    )


def test_wrong_bytes_are_not_unpacked(site: Path, unrar: Path, project: Path) -> None:
    with (
        serving(site) as url,
        pytest.raises(
            UserError, match=r"is not the file of the manifest: sha256 .* run again to go on, or fetch .* yourself"
        ),
    ):
        kind_of(params_of(UCF101, **archive_settings(site, url, sha256="0" * 64)), "d").acquire(project / "unused")
    assert not (unrar.parent / "called").exists()


def test_without_a_program_one_line_says_what_to_do_before_anything_is_fetched(
    site: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(project / "nothing"))
    with (
        serving(site) as url,
        pytest.raises(
            UserError,
            match=r"none of unrar, unar, 7z, 7zz, bsdtar is installed: install one .* datasets.d.source: local",
        ) as caught,
    ):
        kind_of(params_of(UCF101, **archive_settings(site, url)), "d").acquire(project / "unused")
    assert not Handler.asked and "\n" not in str(caught.value)


def test_a_program_that_fails_leaves_nothing_half_unpacked(site: Path, unrar: Path, project: Path) -> None:
    unrar.write_text("#!/bin/sh\necho CRC error >&2\nexit 3\n")
    with (
        serving(site) as url,
        pytest.raises(UserError, match=r"unrar cannot unpack .*UCF101.rar \(status 3: CRC error\)"),
    ):
        kind_of(params_of(UCF101, **archive_settings(site, url)), "d").acquire(project / "unused")
    assert [path.name for path in (project / "my copy; rm -rf x").iterdir()] == ["UCF101.rar"]


def manifest(project: Path, **sizes: int) -> str:
    rows = [f"UCF-101/{name},{hashlib.sha256(content).hexdigest()},{len(content)}" for name, content in CLIPS.items()]
    (project / "files.csv").write_text("\n".join(["path,sha256,bytes", *rows, "readme.txt,00,3"]) + "\n")
    return "files.csv"


def test_a_mirror_of_plain_files_is_fetched_and_resumed(site: Path, project: Path) -> None:
    part = project / "copy" / "UCF-101" / "Archery" / "v_Archery_g01_c01.avi.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"one")
    with serving(site) as url:
        kind = kind_of(params_of(UCF101, source="download", raw="copy", url=url, manifest=manifest(project)), "d")
        files = kind.acquire(project / "unused")
        assert kind.acquire(project / "unused") == files
    assert sorted(Handler.asked) == [
        ("/UCF-101/Archery/v_Archery_g01_c01.avi", "bytes=3-"),
        ("/UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi", None),
    ]
    assert {path: fact.bytes for path, fact in files.items()} == {
        f"UCF-101/{name}": len(content) for name, content in CLIPS.items()
    }
    assert (
        kind.expected(files)["UCF-101/Archery/v_Archery_g01_c01.avi"].sha256
        == hashlib.sha256(CLIPS["Archery/v_Archery_g01_c01.avi"]).hexdigest()
    )


def test_a_mirror_that_lacks_files_or_a_name_that_climbs_out_is_one_line(site: Path, project: Path) -> None:
    manifest(project)
    with serving(site) as url:
        (site / "UCF-101/Archery/v_Archery_g01_c01.avi").unlink()
        with pytest.raises(
            UserError,
            match=r"1 of 2 files could not be fetched: UCF-101/Archery/.*404.*; run again to go on, or change"
            r" datasets.d.url",
        ):
            kind_of(params_of(UCF101, source="download", raw="copy", url=url, manifest="files.csv"), "d").acquire(
                project / "unused"
            )
        (project / "files.csv").write_text("path,sha256,bytes\n../v_Archery_g01_c01.avi,00,3\n")
        with pytest.raises(UserError, match="unsafe file name"):
            kind_of(params_of(UCF101, source="download", raw="copy", url=url, manifest="files.csv"), "d").acquire(
                project / "unused"
            )
    with pytest.raises(UserError, match=r"datasets.d.url must name the folder of the mirror"):
        kind_of(params_of(UCF101, source="download", raw="copy", manifest="files.csv"), "d").acquire(project / "unused")


@pytest.mark.parametrize(
    ("text", "said"), [("path,bytes\n", "no column sha256"), ("path,sha256,bytes\nreadme.txt,00,1\n", "lists no clip")]
)
def test_a_manifest_that_is_none_is_refused(project: Path, text: str, said: str) -> None:
    (project / "files.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        ucf101_download.read_manifest(project / "files.csv", "datasets.d.manifest")
