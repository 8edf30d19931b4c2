"""Clips out of archives and from a mirror, against a server on this machine: only listed ones, resumed, checked, and
nothing outside the folder.
"""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from equimodal.datasets.fetch import web
from equimodal.datasets.ks import archives as ks_archives
from equimodal.datasets.ks.lists import Wanted
from equimodal.errors import UserError
from lfs_server import Behaviour, serving
from small_datasets import KS, kind_of, params_of

IDS = [f"aaaaaaaaa{n:02d}" for n in range(6)]


def archive(members: dict[str, bytes], link: str | None = None) -> bytes:
    """A .tar.gz; `link`: the name of a member that links to /etc/passwd."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        if link is not None:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            file.addfile(info)
    return buffer.getvalue()


def clip(number: int) -> bytes:
    return f"clip {number}".encode() * 5000 + bytes(range(256)) * number


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Behaviour]:
    """A mirror with two archives of the training part and one of the test part."""
    monkeypatch.setattr(web, "PAUSE", 0.0)
    with serving() as server:
        base = server.url
        server.contents.update(
            {
                "k400_train_path.txt": f"{base}/train/part_0.tar.gz\n{base}/train/part_1.tar.gz\n".encode(),
                "k400_test_path.txt": f"{base}/test/part_9.tar.gz\n".encode(),
                "part_0.tar.gz": archive(
                    {
                        f"./{IDS[0]}_000001_000011.mp4": clip(0),
                        f"./{IDS[0]}_000050_000060.mp4": b"another clip of the video",
                        "./zzzzzzzzzzz_000001_000011.mp4": b"not on the lists",
                        f"../../../{IDS[1]}_000001_000011.mp4": clip(1),
                        "../../../escape.mp4": b"evil",
                    },
                    link=f"./{IDS[2]}_000001_000011.mp4",
                ),
                "part_1.tar.gz": archive({f"{IDS[2]}_000001_000011.mp4": clip(2)}),
                "part_9.tar.gz": archive({f"{IDS[3]}_000007_000017.mp4": clip(3)}),
            }
        )
        yield server


def lists(project: Path) -> None:
    (project / "train.txt").write_text("".join(f"{name}_000001_000011,10,{n % 2}\n" for n, name in enumerate(IDS[:3])))
    (project / "test.txt").write_text(f"{IDS[3]}_7,10,0\n{IDS[4]}_7,10,1\n")


def kind(**changes: object) -> object:
    return kind_of(
        params_of(KS, source="download", raw="copy", lists={"train": "train.txt", "test": "test.txt"}, **changes), "d"
    )


def test_listed_clips_are_taken_out_of_the_archives_and_nothing_else(
    project: Path, mirror: Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    lists(project)
    mirror.cut["part_1.tar.gz"] = 2  # breaks off twice and is gone on with
    files = kind(url=mirror.url).acquire(project / "unused")  # type: ignore[attr-defined]
    names = [
        "train/blowing_nose/{}_000001_000011.mp4",
        "train/blowing_out_candles/{}_000001_000011.mp4",
        "test/blowing_nose/{}_000007_000017.mp4",
    ]
    expected = {
        names[0].format(IDS[0]): 0,
        names[1].format(IDS[1]): 1,
        names[0].format(IDS[2]): 2,
        names[2].format(IDS[3]): 3,
    }
    assert {path: (project / "copy" / path).read_bytes() for path in files} == {
        path: clip(number) for path, number in expected.items()
    }
    there = {path.relative_to(project).as_posix() for path in project.rglob("*.mp4")}
    assert there == {f"copy/{path}" for path in expected} and not list(project.parent.glob("*.mp4"))
    assert not any(path.is_symlink() for path in project.rglob("*"))
    assert next(wanted for name, wanted in mirror.gets if name == "part_1.tar.gz") is None
    assert len([wanted for name, wanted in mirror.gets if name == "part_1.tar.gz" and wanted]) == 2
    assert not list((project / "copy").rglob("*.tar.gz*.part")) and not list((project / "copy").rglob("*.tar.gz"))
    said = capsys.readouterr().err
    assert (
        "1 listed clips are in none of the archives of train, test" in said
        and "4 of 5 listed clips found, 1 missing" in said
    )


def test_a_second_run_fetches_no_archive_that_holds_nothing_wanted(project: Path, mirror: Behaviour) -> None:
    lists(project)
    kind(url=mirror.url).acquire(project / "unused")  # type: ignore[attr-defined]
    mirror.gets.clear()
    kind(url=mirror.url).acquire(project / "unused")  # type: ignore[attr-defined]
    assert {name for name, _ in mirror.gets} == {"k400_train_path.txt", "k400_test_path.txt"}
    (project / "copy" / "test" / "blowing_nose" / f"{IDS[3]}_000007_000017.mp4").unlink()
    kind(url=mirror.url).acquire(project / "unused")  # type: ignore[attr-defined]
    assert [name for name, _ in mirror.gets if name.endswith("gz")] == ["part_9.tar.gz"]


def test_a_stopped_download_goes_on(project: Path, mirror: Behaviour) -> None:
    lists(project)
    mirror.cut["part_0.tar.gz"] = 99
    with pytest.raises(
        UserError,
        match=r"part_0.tar.gz broke off at \d+ of \d+ bytes: finished and begun files are kept, run"
        r" again.*datasets.d.url",
    ):
        kind(url=mirror.url).acquire(project / "unused")  # type: ignore[attr-defined]
    mirror.cut.clear()
    mirror.gets.clear()
    assert len(kind(url=mirror.url).acquire(project / "unused")) == 4  # type: ignore[attr-defined]
    assert next(wanted for name, wanted in mirror.gets if name == "part_0.tar.gz")


def test_checksums_of_the_manifest_are_kept_to(project: Path, mirror: Behaviour) -> None:
    lists(project)
    good = mirror.add(mirror.contents["part_1.tar.gz"])
    (project / "facts.csv").write_text(f"path,sha256,bytes\ntrain/part_1.tar.gz,{good.sha256},{good.bytes}\n")
    assert len(kind(url=mirror.url, manifest="facts.csv").acquire(project / "unused")) == 4  # type: ignore[attr-defined]
    (project / "copy" / "train" / "blowing_nose" / f"{IDS[2]}_000001_000011.mp4").unlink()
    (project / "facts.csv").write_text(f"path,sha256,bytes\ntrain/part_1.tar.gz,{'0' * 64},{good.bytes}\n")
    with pytest.raises(
        UserError, match=r"part_1.tar.gz is not the file of the manifest: sha256 \w{12}..., not 000000000000"
    ):
        kind(url=mirror.url, manifest="facts.csv").acquire(project / "unused")  # type: ignore[attr-defined]


def test_a_damaged_archive_is_said_and_removed(project: Path, mirror: Behaviour) -> None:
    lists(project)
    mirror.contents["part_1.tar.gz"] = mirror.contents["part_1.tar.gz"][:-40]
    with pytest.raises(UserError, match=r"part_1.tar.gz is damaged \(.*\) and was removed"):
        kind(url=mirror.url).acquire(project / "unused")  # type: ignore[attr-defined]
    assert not list((project / "copy").rglob("part_1.tar.gz"))
    assert len(list((project / "copy").rglob("*.mp4"))) >= 2  # what was finished is kept


def test_single_clips_come_from_an_address_with_placeholders(
    project: Path, mirror: Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    lists(project)
    for number, name in enumerate(IDS[:3]):
        mirror.contents[f"{name}_000001_000011.mp4"] = clip(number)
    mirror.contents[f"{IDS[3]}_000007_000017.mp4"] = clip(3)
    mirror.cut[f"{IDS[0]}_000001_000011.mp4"] = 1
    files = kind(url=mirror.url + "/{class}/{video}_{start:06d}_{end:06d}.mp4").acquire(project / "unused")  # type: ignore[attr-defined]
    assert len(files) == 4 and (
        project / "copy" / "train" / "blowing_nose" / f"{IDS[0]}_000001_000011.mp4"
    ).read_bytes() == clip(0)
    assert f"the mirror lacks 1 of 5 clips: {IDS[4]}_7" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"datasets.d.url = .*'name' of .* is unknown: use \{id\}"):
        kind(url=mirror.url + "/{id}/{name}.mp4").acquire(project / "unused")  # type: ignore[attr-defined]


def test_a_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,bytes\n")
    with pytest.raises(UserError, match=r"no column sha256: datasets.d.manifest must name"):
        ks_archives.read_facts(str(tmp_path / "m.csv"), "datasets.d.manifest")
    (tmp_path / "m.csv").write_text("path,sha256,bytes\na,b,many\n")
    with pytest.raises(UserError, match="is not a proper manifest"):
        ks_archives.read_facts(str(tmp_path / "m.csv"), "datasets.d.manifest")
    with pytest.raises(UserError, match="cannot be read"):
        ks_archives.read_facts(str(tmp_path / "none.csv"), "datasets.d.manifest")


def test_an_id_cannot_leave_the_folder_in_an_address() -> None:
    item = Wanted("a b&c", "singing", "train", None, None, "line")
    assert ks_archives._address("http://x/{id}.mp4", item, "key") == "http://x/a%20b%26c.mp4"
