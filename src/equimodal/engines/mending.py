"""What a killed DVC leaves half written, which no later DVC would read: dvc.lock and .dvc/tmp/rwlock."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from equimodal.store import atomic

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def mend_dvc(root: Path, folder: Path) -> None:
    """Make DVC's two files readable again, unless a DVC works here now.

    dvc.lock is cut back to its last whole stage. What is lost is in DVC's run cache: the next `dvc repro` takes those
    stages from there without running them.

    Args:
        root: the folder that has .dvc.
        folder: the one that has dvc.yaml.
    """
    if not (root / ".dvc/tmp").is_dir():
        return
    # the lock that each DVC holds, but while it runs a stage
    with contextlib.suppress(Timeout), FileLock(root / ".dvc/tmp/lock", timeout=0):
        rwlock = root / ".dvc/tmp/rwlock"
        if rwlock.is_file() and not _is_json(rwlock.read_bytes()):
            rwlock.unlink()
        _mend_lock_file(folder / "dvc.lock")


def _is_json(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _mend_lock_file(path: Path) -> None:
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    whole = text
    while whole and not _is_whole(whole):
        starts = [match.start() for match in re.finditer(r"^  \S", whole, re.MULTILINE)]
        whole = whole[: starts[-1]] if len(starts) > 1 else ""
    if not whole:
        path.unlink()
    elif whole != text:
        with atomic(path) as scratch:
            scratch.write_text(whole, encoding="utf-8")


def _is_whole(text: str) -> bool:
    """Whether DVC would read it: a schema, and stages whose files each have a path and a checksum."""
    try:
        found = yaml.load(text, LOADER)
    except yaml.YAMLError:
        return False
    if not isinstance(found, dict) or "schema" not in found or not isinstance(found.get("stages"), dict):
        return False
    return text.endswith("\n") and all(_is_stage(stage) for stage in found["stages"].values())


def _is_stage(stage: Any) -> bool:
    if not isinstance(stage, dict) or not stage.get("cmd"):
        return False
    files = [*(stage.get("deps") or []), *(stage.get("outs") or [])]
    return all(isinstance(file, dict) and file.get("path") and len(file) > 1 for file in files)
