"""UCF-101 over the network: its RAR archive, unpacked by a program that the machine has, or a mirror of plain files."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from equimodal.datasets.base import FileFact, some_of
from equimodal.datasets.fetch.checksums import read_checksums
from equimodal.datasets.fetch.lfs import inside
from equimodal.datasets.fetch.transfer import begun, download
from equimodal.datasets.fetch.web import WebError, shown
from equimodal.datasets.ucf101.lists import STEM
from equimodal.errors import UserError
from equimodal.progress import watched
from equimodal.store import disk_error, file_sha256

ARCHIVE = "https://www.crcv.ucf.edu/data/UCF101/UCF101.rar"

# Programs that read RAR, best first: name -> the command that unpacks a file into a folder. Never through a shell.
UNPACKERS: dict[str, Callable[[str, str], list[str]]] = {
    "unrar": lambda archive, folder: ["unrar", "x", "-o+", "-y", "-p-", "-inul", "--", archive, folder + "/"],
    "unar": lambda archive, folder: [
        "unar",
        "-quiet",
        "-force-overwrite",
        "-no-directory",
        "-output-directory",
        folder,
        archive,
    ],
    "7z": lambda archive, folder: ["7z", "x", "-y", "-bd", "-p-", f"-o{folder}", "--", archive],
    "7zz": lambda archive, folder: ["7zz", "x", "-y", "-bd", "-p-", f"-o{folder}", "--", archive],
    "bsdtar": lambda archive, folder: ["bsdtar", "-x", "-C", folder, "-f", archive],
}


def fetch_archive(raw: Path, fact: FileFact, url: str, key: str) -> None:
    """Fetch the archive into `raw`, unpack it to raw/UCF-101/Class/v_*.avi, and note that this is done.

    Args:
        fact: its size and sha256; without sha256 the one found is printed, to be pinned.
        url: where it is.
        key: the dataset's name in params.yaml (datasets.D), for messages.

    Raises:
        UserError: no program to unpack with, too little disk, no answer, wrong bytes, an archive that does not unpack.
    """
    archive = raw / url.rpartition("/")[2]
    done = archive.with_name(archive.name + ".unpacked")
    if done.is_file():
        return
    program = next((name for name in UNPACKERS if shutil.which(name)), None)
    if program is None:
        raise UserError(
            f"{shown(url)} is a RAR archive and none of {', '.join(UNPACKERS)} is installed: install one"
            " (apt install unrar, or libarchive-tools for bsdtar),"
            f" or unpack it yourself and set {key}.source: local and {key}.raw"
        )
    raw.mkdir(parents=True, exist_ok=True)
    if not (archive.is_file() and archive.stat().st_size == fact.bytes):
        _check_room(raw, 2 * fact.bytes - begun(archive))
        print(f"fetching {fact.bytes / 1e9:.2f} GB from {shown(url)} to {archive}", file=sys.stderr, flush=True)
        try:
            download(url, archive, fact)
        except WebError as error:
            raise UserError(
                f"{error}: what came is kept; run again to go on, or fetch {shown(url)} yourself"
                f" (wget -c --no-check-certificate where its certificate is refused) as {archive}"
            ) from None
        except OSError as error:
            raise disk_error(error, archive) from error
    found = file_sha256(archive)
    if fact.sha256 is None:
        print(
            f"{archive} has sha256 {found}: no checksum is published; set {key}.sha256 to it, to notice any change",
            file=sys.stderr,
        )
    elif found != fact.sha256:
        raise UserError(
            f"{archive} has sha256 {found[:12]}..., not {fact.sha256[:12]}... as {key}.sha256 says: delete it"
            " and run again, or mend the setting"
        )
    unpack(archive, raw / "UCF-101", program)
    done.write_text(found + "\n", encoding="ascii")


def unpack(archive: Path, target: Path, program: str) -> None:
    """Unpack beside `target`, then move the clips, and nothing else, to target/Class/v_*.avi.

    Raises:
        UserError: the program fails, or no clip comes out.
    """
    try:
        with TemporaryDirectory(prefix=".unpacking.", dir=target.parent) as folder:
            command = UNPACKERS[program](str(archive.resolve()), str(Path(folder).resolve()))
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            if ended.returncode:
                said = (ended.stderr.strip().splitlines() or ["nothing said"])[-1]
                raise UserError(
                    f"{program} cannot unpack {archive} (status {ended.returncode}: {said[:200]}): try"
                    f" another of {', '.join(UNPACKERS)}"
                )
            moved = 0
            for home, _, names in os.walk(folder):  # does not follow links
                for name in names:
                    path = Path(home, name)
                    match = STEM.fullmatch(path.stem)
                    if match and path.suffix == ".avi" and path.is_file() and not path.is_symlink():
                        place = target / match[1] / name
                        place.parent.mkdir(parents=True, exist_ok=True)
                        os.replace(path, place)
                        moved += 1
    except OSError as error:
        raise disk_error(error, target) from error
    if not moved:
        raise UserError(f"{archive} holds no clip (as v_Archery_g01_c01.avi): it is not UCF-101")


def read_manifest(path: Path, key: str) -> dict[str, FileFact]:
    """Read a CSV with the columns path, sha256, bytes; rows that are no clip are passed over."""
    facts = read_checksums(path, key, _is_clip)
    if not facts:
        raise UserError(f"{path} lists no clip (as Archery/v_Archery_g01_c01.avi): {key} must name UCF-101's manifest")
    return facts


def _is_clip(path: str | None) -> bool:
    return (
        path is not None
        and path.endswith(".avi")
        and STEM.fullmatch(path.rpartition("/")[2].removesuffix(".avi")) is not None
    )


def fetch_files(facts: Mapping[str, FileFact], raw: Path, url: str, key: str, jobs: int = 4) -> None:
    """Fetch url/path for every path of a manifest; what is there in full is left, what was begun goes on.

    Raises:
        UserError: an unsafe path, too little disk, files that cannot be fetched or fail their checksum.
    """
    wanted = [(inside(raw, name), name, fact) for name, fact in sorted(facts.items())]
    wanted = [
        (path, name, fact) for path, name, fact in wanted if not (path.is_file() and path.stat().st_size == fact.bytes)
    ]
    raw.mkdir(parents=True, exist_ok=True)
    _check_room(raw, sum(fact.bytes - begun(path) for path, _, fact in wanted))

    def one(item: tuple[Path, str, FileFact]) -> str:
        path, name, fact = item
        try:
            download(f"{url.rstrip('/')}/{quote(name)}", path, fact)
        except WebError as error:
            return f"{name} ({error})"
        return ""

    pool = ThreadPoolExecutor(jobs)
    try:
        failed = [
            trouble for trouble in watched(pool.map(one, wanted), len(wanted), "fetching UCF-101", "files") if trouble
        ]
    except OSError as error:
        raise disk_error(error, raw) from error
    finally:
        pool.shutdown(cancel_futures=True)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(wanted)} files could not be fetched: {some_of(failed, 3)}; run again to"
            f" go on, or change {key}"
        )


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are needed: free some disk or"
            " choose another folder"
        )
