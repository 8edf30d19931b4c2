"""Listed clips out of Kinetics-400's public archives, or from a mirror that has them one by one.

YouTube itself is not asked.

The archives (https://github.com/cvdfoundation/kinetics-dataset) are .tar.gz files of about a thousand clips each, named
in {url}/{part}/k400_{part}_path.txt. One lies on the disk at a time; only listed clips are taken out of it.
"""

import shutil
import sys
import tarfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from equimodal.datasets.base import FileFact, some_of
from equimodal.datasets.fetch.checksums import read_checksums
from equimodal.datasets.fetch.transfer import download
from equimodal.datasets.fetch.web import WebError, get
from equimodal.datasets.ks.folder import SUFFIXES, Name, match, scan
from equimodal.datasets.ks.lists import Wanted
from equimodal.errors import UserError
from equimodal.progress import watched
from equimodal.store import atomic, disk_error

HOME = "https://s3.amazonaws.com/kinetics/400"
KEPT = ".archives"  # below the folder of clips: begun archives, and the names of what finished ones hold
JOBS = 4  # single clips at once
LENGTH = 10  # seconds of a clip, for its end


def fetch(
    wanted: Sequence[Wanted],
    root: Path,
    url: str | None,
    parts: Sequence[str],
    manifest: str | None,
    key: Callable[[str], str],
) -> None:
    """Bring the wanted clips that `root` lacks, as far as the mirror has them.

    Args:
        wanted: the lists.
        root: folder of clips; they come to {part}/{class}/ below it.
        url: a mirror of the archives (None: the public one), or an address with {id} (as the list has it), {video},
            {start}, {end}, {class}, {split}.
        parts: of Kinetics-400, to look through for archives.
        manifest: CSV with path, sha256, bytes; a file's last part of the path tells which it is.
        key: full name of a setting.

    Raises:
        UserError: no answer, a damaged archive, a wrong checksum, a full disk;
            what is finished is kept, and another run goes on.
    """
    facts = read_facts(manifest, key("manifest")) if manifest is not None else {}
    root.mkdir(parents=True, exist_ok=True)
    there = match(wanted, scan(root)).found
    lacking = [item for item in wanted if item.id not in there]
    try:
        if url is not None and "{" in url:
            _singly(lacking, root, url, facts, key("url"))
        elif lacking:
            _from_archives(lacking, root, (url or HOME).rstrip("/"), parts, facts)
    except WebError as error:
        raise UserError(
            f"{error}: finished and begun files are kept, run again to go on, or set {key('url')} to another mirror"
        ) from None
    except OSError as error:
        raise disk_error(error, root) from error


def read_facts(manifest: str, key: str) -> dict[str, FileFact]:
    """File name -> size and sha256, from a CSV with path, sha256, bytes."""
    return {PurePosixPath(name).name: fact for name, fact in read_checksums(Path(manifest), key).items()}


@dataclass
class _Search:
    """The clips still looked for, by video and start."""

    lacking: dict[tuple[str, int | None], Wanted]

    @classmethod
    def of(cls, items: Sequence[Wanted]) -> "_Search":
        return cls({(name.video, name.start): item for item in items for name in [Name.of(item.id)]})

    def key(self, stem: str) -> tuple[str, int | None] | None:
        """Which of them a file of this stem is, if any; a list that gives no start takes any clip of the video."""
        name = Name.of(stem)
        return next((key for key in ((name.video, name.start), (name.video, None)) if key in self.lacking), None)


def _from_archives(
    items: Sequence[Wanted], root: Path, base: str, parts: Sequence[str], facts: dict[str, FileFact]
) -> None:
    """Go through the parts' archives until nothing is lacking any more."""
    search = _Search.of(items)
    for part in parts:
        listed = get(f"{base}/{part}/k400_{part}_path.txt", most=1_000_000).decode("utf-8", "replace").split()
        for address in watched(listed, len(listed), f"archives of {part}", "archives"):
            name = PurePosixPath(urlsplit(address).path).name
            names = root / KEPT / part / f"{name}.names"
            if not search.lacking:
                return
            if names.is_file() and not any(search.key(stem) for stem in names.read_text(encoding="utf-8").split("\n")):
                continue
            archive = root / KEPT / part / name
            if not archive.is_file():
                download(address, archive, facts.get(name))
            stems = _extract(archive, root / part, search)
            with atomic(names) as scratch:
                scratch.write_text("\n".join(stems), encoding="utf-8")
            archive.unlink()
    if search.lacking:
        print(
            f"{len(search.lacking):,} listed clips are in none of the archives of {', '.join(parts)}", file=sys.stderr
        )


def _extract(archive: Path, folder: Path, search: _Search) -> list[str]:
    """Take the clips looked for out of an archive; returns the stems of all its clips.

    A member's own path is never used: a clip is written to {class}/{stem} below `folder`, and its stem has to have the
    form of a clip's name.
    """
    stems = []
    try:
        with tarfile.open(archive, mode="r|gz") as members:
            for member in members:
                name = PurePosixPath(member.name)
                if not member.isfile() or name.suffix.lower() not in SUFFIXES:
                    continue
                stems.append(name.stem)
                key = search.key(name.stem)
                if key is None or Name.of(name.stem).start is None:
                    continue
                content = members.extractfile(member)
                assert content is not None
                with (
                    atomic(folder / search.lacking[key].label / f"{name.stem}{name.suffix.lower()}") as scratch,
                    open(scratch, "wb") as file,
                ):
                    shutil.copyfileobj(content, file)
                del search.lacking[key]
    except (tarfile.TarError, EOFError, zlib.error) as error:
        archive.unlink()
        raise WebError(f"{archive.name} is damaged ({error}) and was removed") from None
    return stems


def _singly(items: Sequence[Wanted], root: Path, url: str, facts: dict[str, FileFact], key: str) -> None:
    """Clip by clip; one that the mirror lacks (404, 410) stays missing."""
    addresses = [(_address(url, item, key), item) for item in items]
    gone: list[str] = []
    pool = ThreadPoolExecutor(JOBS)
    try:
        for name in watched(
            pool.map(lambda task: _one(task[0], task[1], root, facts), addresses), len(addresses), "fetching clips"
        ):
            gone += [name] if name else []
    finally:
        pool.shutdown(cancel_futures=True)
    if gone:
        print(f"the mirror lacks {len(gone):,} of {len(items):,} clips: {some_of(gone)}", file=sys.stderr)


def _one(address: str, item: Wanted, root: Path, facts: dict[str, FileFact]) -> str:
    """Fetch one clip; its id if the mirror does not have it."""
    suffix = PurePosixPath(urlsplit(address).path).suffix.lower()
    path = root / item.split / item.label / f"{item.id}{suffix if suffix in SUFFIXES else SUFFIXES[0]}"
    try:
        download(address, path, facts.get(path.name))
    except WebError as error:
        if error.status in (404, 410):
            return item.id
        raise
    return ""


def _address(url: str, item: Wanted, key: str) -> str:
    """Where a single clip is."""
    name = Name.of(item.id)
    words: dict[str, str | int] = {
        "id": quote(item.id),
        "video": quote(name.video),
        "class": item.label,
        "split": item.split,
    }
    if name.start is not None:
        words.update(start=name.start, end=name.start + LENGTH)
    try:
        return url.format(**words)
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(
            f"{key} = {url}: {error} of {item.id} is unknown: use {{id}}, {{video}}, {{start:06d}},"
            f" {{end:06d}}, {{class}}, {{split}}"
        ) from None
