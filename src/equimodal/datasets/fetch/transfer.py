"""One file over HTTP: resumed after an interruption, checked before it counts."""

import hashlib
import http.client
import math
import shutil
from pathlib import Path

from equimodal.datasets.base import FileFact
from equimodal.datasets.fetch.web import WebError, open_url, patiently, range_start
from equimodal.progress import watched

PIECE = 1_000_000  # bytes read at once


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
    path.parent.mkdir(parents=True, exist_ok=True)
    patiently(lambda: _once(url, path, fact, title))


def _once(url: str, path: Path, fact: FileFact | None, title: str | None) -> None:
    part = path.with_name(path.name + ".part")
    begun = part.stat().st_size if part.is_file() else 0
    if fact is None or begun < fact.bytes:
        _append(url, part, begun, fact, title)
    _check(part, fact, begun)
    part.replace(path)


def _append(url: str, part: Path, begun: int, fact: FileFact | None, title: str | None) -> None:
    """Everything from byte `begun` on, or from the beginning where the server does not resume."""
    try:
        answer = open_url(url, {"Range": f"bytes={begun}-"} if begun else None)
    except WebError as error:
        if (
            error.status == 416
        ):  # nothing lies beyond what is here: a leftover of another file, or complete; once more from the start tells
            part.unlink(missing_ok=True)
            raise WebError(str(error)) from None
        raise
    with answer:
        goes_on = begun > 0 and answer.status == 206 and range_start(answer.headers) == begun
        size = begun if goes_on else 0
        stated = answer.headers.get("Content-Length", "")
        total = size + int(stated) if stated.isdigit() else None
        free = shutil.disk_usage(part.parent).free
        if total is not None and total - size > free:
            raise WebError(
                f"{url} needs {(total - size) / 1e9:.1f} GB, {part.parent} has {free / 1e9:.1f} GB free", 413
            )
        left = math.ceil((total - size) / PIECE) if total is not None else 0
        pieces = watched(iter(lambda: answer.read(PIECE), b""), left, title or "", "MB", bool(title and left))
        with open(part, "ab" if goes_on else "wb") as file:
            try:
                for piece in pieces:
                    size += len(piece)
                    if fact is not None and size > fact.bytes:
                        break
                    file.write(piece)
            except http.client.HTTPException as error:
                raise WebError(f"{url} broke off at {size} bytes: {error}") from None
            except (TimeoutError, ConnectionError) as error:
                raise WebError(f"{url} broke off at {size} bytes: {error}") from None
    if total is not None and size < total:
        raise WebError(f"{url} broke off at {size} of {total} bytes")


def _check(part: Path, fact: FileFact | None, begun: int) -> None:
    if fact is None:
        return
    size = part.stat().st_size
    wrong = "" if size == fact.bytes else f"{size} bytes, not {fact.bytes}"
    if not wrong and fact.sha256 is not None:
        with open(part, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        wrong = "" if found == fact.sha256 else f"sha256 {found[:12]}..., not {fact.sha256[:12]}..."
    if wrong:
        part.unlink()
        # What was resumed may have been spoilt before: one clean try is worth it. A whole file that is wrong stays
        # wrong.
        raise WebError(
            f"{part.name.removesuffix('.part')} is not the file of the manifest: {wrong}", None if begun else 422
        )
