"""UCF-101's official list files: class ids, and the three divisions into training and test clips. Digests are pinned,
lists never shipped.
"""

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from equimodal.datasets.base import some_of
from equimodal.datasets.fetch.web import WebError, get
from equimodal.errors import UserError
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
    """Class names in the order of classInd.txt, and of one division "train" and "test" -> clip -> class."""

    classes: tuple[str, ...]
    parts: Mapping[str, Mapping[str, str]]

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
        if folder is None and _digest(texts[name]) != SHA256[name]:
            raise UserError(
                f"{home / name} is not the published list (checksum differs): delete it and run again, or set {key}"
            )
    classes = _classes(texts["classInd.txt"], home / "classInd.txt")
    lists = Lists(
        classes,
        {
            part: _clips(texts[name], home / name, classes)
            for part, name in zip(("train", "test"), names[1:], strict=True)
        },
    )
    both = sorted(lists.parts["train"].keys() & lists.parts["test"].keys())
    if both:
        raise UserError(
            f"{len(both)} clips are in both {names[1]} and {names[2]} ({some_of(both)}): mend the lists at {key}"
        )
    return lists


def _classes(lines: list[str], path: Path) -> tuple[str, ...]:
    """Names in the order of their ids, which count from 1."""
    for number, line in enumerate(lines, 1):
        if not re.fullmatch(rf"{number} [A-Za-z]+", line):
            raise UserError(
                f"{path}, line {number}: '{line[:60]}' is not 'ID NAME' with id {number}: it must list the"
                " classes in the order of their ids"
            )
    if len(lines) < 2:
        raise UserError(f"{path} lists {len(lines)} classes: at least two are needed")
    return tuple(line.split()[1] for line in lines)


def _clips(lines: list[str], path: Path, classes: tuple[str, ...]) -> dict[str, str]:
    """Clip -> class. Folder, name and id (training lists only) must agree on it."""
    known = {name.lower(): name for name in classes}
    clips = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        label = known.get(match[3].lower()) if match else None
        if (
            match is None
            or label is None
            or match[1] not in (None, label)
            or (match[6] and match[6] != str(classes.index(label) + 1))
        ):
            raise UserError(
                f"{path}, line {number}: '{line[:80]}' is no clip of a class of classInd.txt (as"
                " Archery/v_Archery_g08_c01.avi 3)"
            )
        clips[match[2]] = label
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
        if _digest(_lines(content)) != SHA256[name]:
            raise UserError(
                f"{name} in {HOME} is not the pinned list: set {key} to a folder with the lists that you trust"
            )
    for name, content in contents.items():
        with atomic(CACHE / name) as scratch:
            scratch.write_bytes(content)


def _lines(content: bytes) -> list[str]:
    return [line.strip() for line in content.decode("utf-8-sig", "replace").splitlines() if line.strip()]


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
