"""UCF-101's official list files: class ids, and the three divisions into training and test clips. Digests are pinned,
lists never shipped.
"""

import hashlib
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from equimodal.datasets.base import some_of
from equimodal.datasets.fetch.web import WebError, get
from equimodal.errors import UserError
from equimodal.settings.base import hint
from equimodal.store import atomic

HOME = "https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip"
CACHE = Path(".equimodal/downloads/ucf101_lists")
MOST = 4_000_000  # bytes of the archive, and of each file in it: several times what they have
# Sha256 of the lines joined by "\n", without carriage returns.
SHA256 = {
    "classInd.txt": "bfd7530cc915c4f2d5be9b34d1db4d9fbe9aa7fd3eba68ed6a2d9c775bfdd4ed",
    "testlist01.txt": "f9d2bbf538196785d751798f55deed736fe96f67013213907cfa9b8cce2fb8de",
    "testlist02.txt": "0cd4b591d5f94fcff3f62d4c83218000a1c0244be6615d0b5853d7e51b28caa2",
    "testlist03.txt": "c67eddb5f186371caf674961aeb9372b10cc78b28930affd604a9e1bd438ba9e",
    "trainlist01.txt": "4832427fd8672791d801e5ea31cdfcc4c19a11dd8f718cf082bb8601e2a80a07",
    "trainlist02.txt": "dee78840e6f9ef6544080356c3a73e851decbf42af2a57fe2b4bae3bd77f6e6f",
    "trainlist03.txt": "6d683c2f90cae60c39e378056a92e3af3f7b822110195f86e7e1963e573bd443",
}
STEM = re.compile(r"v_([A-Za-z]+)_g(\d{2})_c(\d{2})")
_LINE = re.compile(rf"(?:([A-Za-z]+)/)?({STEM.pattern})\.avi(?: (\d+))?")


@dataclass(frozen=True)
class Lists:
    """Class names in the order of classInd.txt, and of one division "train" and "test" -> clip -> class; the folder
    of the lists, for messages.
    """

    classes: tuple[str, ...]
    parts: Mapping[str, Mapping[str, str]]
    home: Path = field(compare=False)

    def class_of(self, stem: str) -> str | None:
        """The class that a clip's name says, or None. Case does not count: v_HandStandPushups_* are of class
        HandstandPushups.
        """
        match = STEM.fullmatch(stem)
        return None if match is None else {name.lower(): name for name in self.classes}.get(match[1].lower())


def read_lists(folder: str | None, number: int, key: str) -> Lists:
    """Read classInd.txt, trainlist0N.txt and testlist0N.txt.

    Args:
        folder: where they are; None downloads the official ones once.
        number: which division, 1 to 3.
        key: the setting's name, for messages.

    Raises:
        UserError: a list is missing, malformed, contradicts itself, or is not the pinned one.
    """
    names = ("classInd.txt", f"trainlist{number:02d}.txt", f"testlist{number:02d}.txt")
    if folder is None and not all((CACHE / name).is_file() for name in names):
        _download(key)
    home = CACHE if folder is None else Path(folder)
    texts = {}
    for name in names:
        try:
            texts[name] = _lines((home / name).read_bytes())
        except OSError as error:
            raise UserError(
                f"{home / name} cannot be read ({error.strerror}): {key} must name a folder with"
                f" {', '.join(names)}, or be null"
            ) from None
        if folder is None and _digest(texts[name].values()) != SHA256[name]:
            raise UserError(
                f"{home / name} is not the published list (checksum differs): delete it and run again, or set {key}"
            )
    classes = _classes(texts["classInd.txt"], home / "classInd.txt", key.replace("split.lists", "classes"))
    lists = Lists(
        classes,
        {
            part: _clips(texts[name], home / name, classes)
            for part, name in zip(("train", "test"), names[1:], strict=True)
        },
        home,
    )
    both = sorted(lists.parts["train"].keys() & lists.parts["test"].keys())
    if both:
        raise UserError(
            f"{len(both)} clips are in both {names[1]} and {names[2]} ({some_of(both)}): mend the lists at {key}"
        )
    return lists


def _classes(lines: Mapping[int, str], path: Path, setting: str) -> tuple[str, ...]:
    """Names in the order of their ids, which count from 1."""
    for place, (number, line) in enumerate(lines.items(), 1):
        if not re.fullmatch(rf"{place} [A-Za-z]+", line):
            raise UserError(
                f"{path}, line {number}: '{line[:60]}' is not 'ID NAME' with id {place}: it must list all classes in"
                f" the order of their ids (for some of them leave the lists as they are, and set {setting})"
            )
    names = [line.split()[1] for line in lines.values()]
    twice = [name for name, count in Counter(name.lower() for name in names).items() if count > 1]
    if twice or len(names) < 2:
        raise UserError(
            f"{path} lists {f'{twice[0]} twice' if twice else f'{len(names)} classes'}: at least two are needed, each"
            " once"
        )
    return tuple(names)


def _clips(lines: Mapping[int, str], path: Path, classes: tuple[str, ...]) -> dict[str, str]:
    """Clip -> class. Folder, name and id (training lists only) must agree on it."""
    ids = {name.lower(): (str(number), name) for number, name in enumerate(classes, 1)}
    clips = {}
    for number, line in lines.items():
        match = _LINE.fullmatch(line)
        known = ids.get(match[3].lower()) if match else None
        if match is None:
            fault = "is no clip (as Archery/v_Archery_g08_c01.avi 3)"
        elif known is None:
            fault = f"is of class {match[3]}, which classInd.txt does not list" + hint(match[3], list(classes))
        elif match[1] not in (None, known[1]):
            fault = f"lies in folder {match[1]}, but its name says {known[1]}"
        elif match[6] not in (None, known[0]):
            fault = f"has class id {match[6]}, but {known[1]} is {known[0]} in classInd.txt"
        else:
            clips[match[2]] = known[1]
            continue
        raise UserError(f"{path}, line {number}: '{line[:80]}' {fault}: mend that line")
    return clips


def _download(key: str) -> None:
    """Fetch the official archive, check each list in it, keep them."""
    try:
        with zipfile.ZipFile(io.BytesIO(get(HOME, MOST))) as archive:
            members = {
                member.filename.rpartition("/")[2]: member for member in archive.infolist() if member.file_size <= MOST
            }
            contents = {name: archive.read(members[name]) for name in SHA256}
    except WebError as error:
        raise UserError(f"cannot download UCF-101's lists: {error}; set {key} to a folder with them") from None
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError, OSError) as error:
        raise UserError(
            f"{HOME} is not the archive of UCF-101's lists ({error}): set {key} to a folder with them"
        ) from None
    for name, content in contents.items():
        if _digest(_lines(content).values()) != SHA256[name]:
            raise UserError(
                f"{name} in {HOME} is not the pinned list: set {key} to a folder with the lists that you trust"
            )
    for name, content in contents.items():
        with atomic(CACHE / name) as scratch:
            scratch.write_bytes(content)


def _lines(content: bytes) -> dict[int, str]:
    """Number in the file -> line, of those that are not empty."""
    lines = enumerate(content.decode("utf-8-sig", "replace").splitlines(), 1)
    return {number: text for number, line in lines if (text := line.strip())}


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
