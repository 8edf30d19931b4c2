"""Git LFS pointers: what stands in a file's place where a repository was cloned without git-lfs."""

import re
from collections.abc import Iterable
from pathlib import Path

POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n?")
POINTER_BYTES = 1000  # more than any pointer has
REASON = "a git LFS pointer, not the file itself (run: git lfs pull)"


def pointed_bytes(path: Path) -> int | None:
    """Size of the file that a pointer stands for; None for a file that is none, or cannot be read."""
    try:
        match = POINTER.fullmatch(path.read_bytes()) if path.stat().st_size < POINTER_BYTES else None
    except OSError:
        return None
    return None if match is None else int(match[2])


def is_pointer(path: Path) -> bool:
    """Whether a file is a pointer in place of its content."""
    return pointed_bytes(path) is not None


def pointers(root: Path, names: Iterable[str]) -> list[str]:
    """Those of the files `names` below `root` that are pointers."""
    return [name for name in names if is_pointer(root / name)]


def pull(root: Path | str) -> str:
    """What to run, for messages."""
    return f"run: git -C {root} lfs install --local && git -C {root} lfs pull (needs git-lfs, https://git-lfs.com)"
