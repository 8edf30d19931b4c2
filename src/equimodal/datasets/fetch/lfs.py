"""Files fetched from a git LFS server: batch API, basic transfers, resumed after an interruption,
checked before they count.

Protocol: git-lfs docs/api/batch.md and basic-transfers.md. Names come from the caller's list, never from the server.
"""

import http.client
import json
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from equimodal.datasets.base import FileFact, some_of
from equimodal.datasets.fetch.transfer import begun, transfer
from equimodal.datasets.fetch.web import WebError, open_url, patiently
from equimodal.errors import UserError
from equimodal.progress import watched
from equimodal.store import disk_error

BATCH = 100  # objects asked for at once, as git-lfs does
MEDIA_TYPE = "application/vnd.git-lfs+json"


@dataclass(frozen=True)
class Server:
    """A repository's LFS server."""

    repository: str

    @property
    def batch_url(self) -> str:
        """Address of the batch API, from the repository's."""
        base = self.repository.rstrip("/")
        return f"{base if base.endswith('.git') else base + '.git'}/info/lfs/objects/batch"

    def actions(self, facts: Sequence[FileFact]) -> dict[str, dict[str, Any]]:
        """Ask where to download: sha256 -> {"href", "header"}, or {"error"} for an object the server does not give."""
        objects = [{"oid": fact.sha256, "size": fact.bytes} for fact in facts]
        body = json.dumps(
            {"operation": "download", "transfers": ["basic"], "hash_algo": "sha256", "objects": objects}
        ).encode()

        def once() -> dict[str, dict[str, Any]]:
            with open_url(self.batch_url, {"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE}, body) as answer:
                try:
                    told = json.loads(answer.read())["objects"]
                    return {
                        item["oid"]: item.get("actions", {}).get("download") or {"error": item.get("error", {})}
                        for item in told
                    }
                except (ValueError, KeyError, TypeError, AttributeError, http.client.HTTPException, OSError) as error:
                    raise WebError(f"{self.batch_url} gives no proper batch answer ({error})") from None

        return patiently(once)


def fetch(facts: Mapping[str, FileFact], target: Path, repository: str, key: str, mirror: str, jobs: int = 4) -> None:
    """Bring every file of `facts` below `target`: what is there in full is left, what was begun (.part) goes on.

    Args:
        facts: relative path -> size and sha256.
        target: folder; paths that would leave it are refused.
        repository: address of the git repository.
        key: the setting that holds that address, for messages.
        mirror: another address to name when this one does not serve.
        jobs: files at once.

    Raises:
        UserError: an unsafe path, too little disk, a server that refuses, files that fail their checksum.
    """
    wanted = [(inside(target, name), fact) for name, fact in sorted(facts.items())]
    wanted = [(path, fact) for path, fact in wanted if not (path.is_file() and path.stat().st_size == fact.bytes)]
    target.mkdir(parents=True, exist_ok=True)
    needed = sum(fact.bytes - begun(path) for path, fact in wanted)
    free = shutil.disk_usage(target).free
    if needed > free:
        raise UserError(
            f"{target} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are still to be fetched: free some"
            " disk or choose another folder"
        )
    server = Server(repository)
    failed: list[str] = []
    pool = ThreadPoolExecutor(jobs)
    try:
        for path, trouble in watched(
            _rounds(server, wanted, pool), len(wanted), f"fetching {needed / 1e9:.2f} GB", "files"
        ):
            if trouble:
                failed.append(f"{path.name} ({trouble})")
    except WebError as error:
        hint = "" if repository == mirror else f", or set {key} to the mirror {mirror}"
        raise UserError(f"{error}: finished and begun files are kept, try again later{hint}") from None
    except OSError as error:
        raise disk_error(error, target) from error
    finally:
        pool.shutdown(cancel_futures=True)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(wanted)} files could not be fetched: {some_of(failed, 3)}; run again to"
            f" go on, or change {key}"
        )


def _rounds(server: Server, wanted: list[tuple[Path, FileFact]], pool: ThreadPoolExecutor) -> Any:
    """Yield (path, trouble or "") for each file; addresses are asked for shortly before use, because they expire."""
    for first in range(0, len(wanted), BATCH):
        some = wanted[first : first + BATCH]
        actions = server.actions([fact for _, fact in some])
        yield from pool.map(lambda item: _one(server, item[0], item[1], actions.get(item[1].sha256 or "")), some)  # noqa: B023


def _one(server: Server, path: Path, fact: FileFact, action: dict[str, Any] | None) -> tuple[Path, str]:
    """Fetch one file; the first try uses `action`, later ones ask for a fresh address."""
    fresh = [action] if action else []

    def once() -> None:
        told = fresh.pop() if fresh else server.actions([fact]).get(fact.sha256 or "", {})
        if "href" not in told:
            raise WebError(
                f"the server does not have it: {told.get('error', {}).get('message', 'no address given')}", 404
            )
        headers = {str(name): str(value) for name, value in (told.get("header") or {}).items()}
        try:
            transfer(str(told["href"]), path, fact, headers)
        except WebError as error:
            # An address that has run out is answered by 401, 403 or 410: asking again gives a new one.
            raise WebError(str(error), None if error.status in (401, 403, 410) else error.status) from None

    try:
        patiently(once)
    except WebError as error:
        return path, str(error)
    return path, ""


def inside(folder: Path, name: str) -> Path:
    """`folder`/name; a name that is absolute or climbs out is a UserError."""
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
        raise UserError(f"unsafe file name {name!r}: it would leave {folder}")
    return folder / pure
