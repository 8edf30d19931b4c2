"""Which file of a folder of Kinetics clips is which clip of the lists, in any of the usual layouts."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from equimodal.datasets.ks.lists import CLASSES, Wanted, class_name

SUFFIXES = (".mp4", ".mkv", ".webm")  # the first is taken where a clip is there in several
# A YouTube id, and the start and end of the clip in it in seconds, padded to six digits or not at all.
_NAME = re.compile(r"([A-Za-z0-9_-]{11})(?:_(\d{1,6})(?:_(\d{1,6}))?)?")
LAYOUTS = (
    "{id}_{start:06d}_{end:06d}.mp4, {id}_{start}.mp4 or {id}.mp4 (.mkv and .webm too), lying flat,"
    " below {class}/, or below train/, val/, test/"
)


@dataclass(frozen=True)
class Name:
    """A clip's name taken apart: YouTube id (or the whole of another name),
    and the second of the video at which the clip begins.
    """

    video: str
    start: int | None = None

    @classmethod
    def of(cls, text: str) -> "Name":
        """From a list's id or a file's stem."""
        match = _NAME.fullmatch(text)
        return cls(text) if match is None else cls(match[1], int(match[2]) if match[2] else None)


@dataclass(frozen=True)
class Matching:
    """What of the lists is there."""

    found: Mapping[str, str]
    """id -> file, relative to the folder."""
    missing: tuple[str, ...]
    others: Mapping[str, list[str]] = field(default_factory=dict)
    """id -> further files of the same clip, not taken."""
    shared: Mapping[str, str] = field(default_factory=dict)
    """Missing id -> the only file it could be, which is another id's."""
    misplaced: tuple[str, ...] = ()
    """Ids whose file lies in the folder of another class; the list is believed."""

    def describe(self, wanted: Sequence[Wanted]) -> dict[str, Any]:
        """Content of availability.json."""
        listed = Counter(item.split for item in wanted)
        there = Counter(item.split for item in wanted if item.id in self.found)
        return {
            "listed": {split: listed[split] for split in sorted(listed)},
            "counts": {split: there[split] for split in sorted(listed)},
            "found": dict(self.found),
            "missing": list(self.missing),
            "further_files": dict(self.others),
            "file_of_another": dict(self.shared),
            "misplaced": list(self.misplaced),
        }


def scan(root: Path) -> list[str]:
    """Media files below `root`, relative, sorted. Links are followed, hidden files and folders passed over."""
    found = []
    seen: set[str] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        place = Path(folder).relative_to(root)
        found += [
            (place / name).as_posix() for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    return sorted(found)


def match(wanted: Sequence[Wanted], files: Iterable[str]) -> Matching:
    """Give each wanted clip its file, independent of the order of either.

    The same name wins over the same video and start, and that over a file that does not say its start. Of equal ones:
    the folder of the clip's class first, then .mp4 before .mkv before .webm, then the shorter path, then the alphabet.
    A file goes to one clip only: to the one that it fits better, or that comes first by id.
    """
    by_video: dict[str, list[tuple[Name, str]]] = {}
    for path in files:
        if not path.lower().endswith(SUFFIXES):  # the lists of the sample
            continue
        name = Name.of(PurePosixPath(path).stem)
        by_video.setdefault(name.video, []).append((name, path))
    fitting = {item.id: _fitting(item, by_video) for item in wanted}
    taken: set[str] = set()
    found: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    shared: dict[str, str] = {}
    misplaced = []
    for item in sorted(wanted, key=lambda item: (fitting[item.id][0][0] if fitting[item.id] else 9, item.id)):
        paths = [path for *_, path in fitting[item.id]]
        free = [path for path in paths if path not in taken]
        if free:
            found[item.id] = free[0]
            taken.add(free[0])
            if _folder_class(free[0]) not in (None, item.label):
                misplaced.append(item.id)
            if len(free) > 1:
                others[item.id] = free[1:]
        elif paths:
            shared[item.id] = paths[0]
    others = {name: left for name, paths in others.items() if (left := [path for path in paths if path not in taken])}
    missing = tuple(sorted(item.id for item in wanted if item.id not in found))
    return Matching(found, missing, others, shared, tuple(sorted(misplaced)))


def _fitting(item: Wanted, by_video: Mapping[str, list[tuple[Name, str]]]) -> list[tuple[int, int, int, int, str]]:
    """Files that may be this clip, best first: (how well, class folder, suffix, depth, path)."""
    name = Name.of(item.id)
    fitting = []
    for other, path in by_video.get(name.video, ()):
        pure = PurePosixPath(path)
        if pure.stem == item.id:
            fit = 0
        elif None not in (name.start, other.start):
            if name.start != other.start:
                continue  # another clip of the same video
            fit = 1
        else:
            fit = 2
        place = _folder_class(path)
        fitting.append(
            (
                fit,
                0 if place == item.label else 1 if place is None else 2,
                SUFFIXES.index(pure.suffix.lower()),
                len(pure.parts),
                path,
            )
        )
    return sorted(fitting)


def _folder_class(path: str) -> str | None:
    """The class whose folder a file lies in, if any."""
    names = [class_name(part) for part in PurePosixPath(path).parts[:-1]]
    return next((name for name in reversed(names) if name in CLASSES), None)
