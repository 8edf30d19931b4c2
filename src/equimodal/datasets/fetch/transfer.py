"""One file over HTTP: resumed after an interruption, checked before it counts."""

import hashlib
import http.client
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from equimodal.datasets.base import FileFact
from equimodal.datasets.fetch.web import WebError, open_url, patiently, range_start, shown
from equimodal.progress import watched

PIECE = 1_000_000  # bytes read at once


class BrokenOff(WebError):
    """An answer that ended early: what came is kept."""


class Refused(WebError):
    """Bytes that are not the file asked for: they are gone.

    Args:
        fault: `wrong size` or `wrong checksum`.
        detail: what it is and what it should be.
    """

    def __init__(self, fault: str, detail: str, status: int | None) -> None:
        super().__init__(f"{fault}: {detail}", status)
        self.detail = detail


def download(url: str, path: Path, fact: FileFact | None = None, title: str | None = None) -> None:
    """Bring the file at `url` to `path`; begun bytes lie in path.part and are gone on with, also by a later run.

    Args:
        fact: size and sha256 if known; else the file is complete when it has the length that the server states.
        title: with one, show on stderr how far it is, where the server states a length.

    Raises:
        WebError: no answer, an error status, a transfer that keeps breaking off, another size or checksum, too little
            disk.
        OSError: the disk is full or read-only.
    """

    def once() -> None:
        try:
            transfer(url, path, fact, title=title)
        except BrokenOff as error:
            raise WebError(f"{shown(url)} {error}", error.status) from None
        except Refused as error:
            raise WebError(f"{path.name} is not the file of the manifest: {error.detail}", error.status) from None

    patiently(once)


def transfer(
    url: str,
    path: Path,
    fact: FileFact | None = None,
    headers: Mapping[str, str] | None = None,
    title: str | None = None,
) -> None:
    """One try of `download`: a GET into path.part from where it stands, renamed when it is whole and right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part, start = _part(path), begun(path)
    if fact is None or start < fact.bytes:
        _append(url, part, start, fact, headers or {}, title)
    if fact is not None:
        _check(part, fact, start)
    part.replace(path)


def begun(path: Path) -> int:
    """Bytes of a file that an earlier try left."""
    part = _part(path)
    return part.stat().st_size if part.is_file() else 0


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _append(
    url: str, part: Path, start: int, fact: FileFact | None, headers: Mapping[str, str], title: str | None
) -> None:
    """Everything from byte `start` on, or from the beginning where the server does not resume."""
    try:
        answer = open_url(url, {**headers, "Range": f"bytes={start}-"} if start else headers)
    except WebError as error:
        if error.status != 416:
            raise
        # Nothing lies beyond what is here: a leftover of another file, or complete; once more from the start tells.
        part.unlink(missing_ok=True)
        raise WebError(str(error)) from None
    with answer:
        goes_on = start > 0 and answer.status == 206 and range_start(answer.headers) == start
        size = start if goes_on else 0
        stated = answer.headers.get("Content-Length", "")
        total = size + int(stated) if stated.isdigit() else None
        free = shutil.disk_usage(part.parent).free
        if total is not None and total - size > free:
            name = part.name.removesuffix(".part")
            raise WebError(
                f"{name} needs {(total - size) / 1e9:.1f} GB, {part.parent} has {free / 1e9:.1f} GB free", 413
            )
        left = math.ceil((total - size) / PIECE) if total is not None else 0
        pieces = watched(_pieces(answer, size), left, title or "", "MB", bool(title and left))
        with open(part, "ab" if goes_on else "wb") as file:
            for piece in pieces:
                size += len(piece)
                if fact is not None and size > fact.bytes:
                    break
                file.write(piece)
    if fact is not None and size > fact.bytes:
        part.unlink()
        raise Refused("wrong size", f"longer than the {fact.bytes} bytes of the manifest", 422)
    expected = total if total is not None or fact is None else fact.bytes
    if expected is not None and size < expected:
        raise BrokenOff(f"broke off at {size} of {expected} bytes")


def _pieces(answer: http.client.HTTPResponse, size: int) -> Iterator[bytes]:
    """What still comes. Apart from writing it: a broken connection and a full disk are both an OSError."""
    while True:
        try:
            piece = answer.read(PIECE)
        except (http.client.HTTPException, OSError) as error:
            raise BrokenOff(f"broke off at {size} bytes: {error}") from None
        if not piece:
            return
        size += len(piece)
        yield piece


def _check(part: Path, fact: FileFact, start: int) -> None:
    # What was resumed may have been spoilt before: one clean try is worth it. A whole file that is wrong stays wrong.
    status = None if start else 422
    size = part.stat().st_size
    if size != fact.bytes:
        part.unlink()
        raise Refused("wrong size", f"{size} bytes, not {fact.bytes}", status)
    if fact.sha256 is None:
        return
    with open(part, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != fact.sha256:
        part.unlink()
        raise Refused("wrong checksum", f"sha256 {found[:12]}..., not {fact.sha256[:12]}...", status)
