"""The lists that make Kinetics-Sounds of Kinetics: which clips are wanted, of which class, to train or to test."""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from equimodal.datasets.base import seconds
from equimodal.datasets.fetch.web import WebError, get
from equimodal.errors import UserError
from equimodal.settings.base import nearest
from equimodal.store import atomic

# The 31 classes whose sound and picture both tell what they are (Arandjelovic and Zisserman 2017; methods.md 23.2).
# Place = label id.
CLASSES = (
    "blowing_nose",
    "blowing_out_candles",
    "bowling",
    "chopping_wood",
    "dribbling_basketball",
    "laughing",
    "mowing_lawn",
    "playing_accordion",
    "playing_bagpipes",
    "playing_bass_guitar",
    "playing_clarinet",
    "playing_drums",
    "playing_guitar",
    "playing_harmonica",
    "playing_keyboard",
    "playing_organ",
    "playing_piano",
    "playing_saxophone",
    "playing_trombone",
    "playing_trumpet",
    "playing_violin",
    "playing_xylophone",
    "ripping_paper",
    "shoveling_snow",
    "shuffling_cards",
    "singing",
    "stomping_grapes",
    "tap_dancing",
    "tapping_guitar",
    "tapping_pen",
    "tickling",
)
HOME = "https://raw.githubusercontent.com/GeWu-Lab/OGM-GE_CVPR2022/149c68e5987f92484dd30cd468d444f6d98f57bd/data/KineticSound"
NAMES = {"train": "my_train.txt", "test": "my_test.txt"}
# Sha256 of the lines joined by "\n", without byte-order mark and carriage returns, which vary from copy to copy.
SHA256 = {
    "train": "2d6bd4d294471cae4dd88620c219440c0c1f26c5c0a0c626c5732cc47eda5c9e",
    "test": "8811908f181d23936895d9ab37c5bd30f20e7206fa0b4686b578206de369297c",
}
CACHE = Path(".equimodal/downloads/kinetics_sounds")
FORMATS = "id,seconds,class (as --4-0ihtnBU_000058_000068,10,4), or id,class[,start,end]"


@dataclass(frozen=True)
class Wanted:
    """One line of a list. `start` and `end`: seconds within the file, None for its beginning and end;
    `line`: where it is written.
    """

    id: str
    label: str
    split: str
    start: float | None
    end: float | None
    line: str


def read_lists(lists: Mapping[str, str | None], key: str) -> list[Wanted]:
    """Every clip wanted, in the order of the lists.

    Args:
        lists: "train", "test" and perhaps "val" -> file; None for "train" and "test" fetches the published ones once,
            for "val" means there is none.
        key: the setting's name, for messages.

    Raises:
        UserError: no such file, wrong columns, an unknown class, a time that is none, a clip listed twice;
            with file and line.
    """
    wanted: list[Wanted] = []
    first: dict[str, Wanted] = {}
    for split, given in lists.items():
        if given is None and split not in NAMES:
            continue
        path = published(split, f"{key}.{split}") if given is None else Path(given)
        for item in _read(path, split, f"{key}.{split}"):
            other = first.setdefault(item.id, item)
            if other is not item:
                where = "both lists" if other.split != split else f"the {split} list twice"
                raise UserError(
                    f"{item.line}: {item.id} is in {where} (also {other.line}): remove one, a clip is on one"
                    " side of the split"
                )
            wanted.append(item)
    return wanted


def published(split: str, key: str) -> Path:
    """The OGM-GE list of 14,799 (train) or 2,597 (test) clips, fetched once;
    another content than the pinned one is a UserError.
    """
    path = CACHE / NAMES[split]
    if not path.is_file():
        try:
            content = get(f"{HOME}/{NAMES[split]}", most=2_000_000)
        except WebError as error:
            raise UserError(
                f"cannot download the published {split} list: {error}; set {key} to your copy of {NAMES[split]}"
            ) from None
        with atomic(path) as scratch:
            scratch.write_bytes(content)
    lines = [line.strip() for line in path.read_bytes().decode("utf-8-sig", "replace").splitlines()]
    if hashlib.sha256("\n".join(line for line in lines if line).encode()).hexdigest() != SHA256[split]:
        raise UserError(
            f"{path} is not the published list (checksum differs): delete it and run again, or set {key} to your copy"
        )
    return path


def _read(path: Path, split: str, key: str) -> list[Wanted]:
    """One list; a header is recognised by its columns `id` and `label`."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True)
            rows = [
                (f"{path}, line {reader.line_num}", [cell.strip() for cell in row])
                for row in reader
                if any(cell.strip() for cell in row)
            ]
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): {key} must name a list of clips, a line each: {FORMATS}"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} is not a UTF-8 CSV file ({error}): {key} must name a list of clips, a line each: {FORMATS}"
        ) from None
    header = [cell.lower() for cell in rows[0][1]] if rows else []
    if "id" in header and "label" in header:
        columns: dict[str, int] = {
            name: header.index(name) for name in header if name in ("id", "label", "start", "end")
        }
        rows = rows[1:]
    else:
        columns = _columns(rows[0]) if rows else {}
    if not rows:
        raise UserError(f"{path} lists no clip: {key} must name a list of clips, a line each: {FORMATS}")
    width = len(rows[0][1])
    wanted = []
    for where, cells in rows:
        if len(cells) != width or width <= max(columns.values()):
            raise UserError(f"{where}: {len(cells)} columns, the lines before have {width}: every line is {FORMATS}")
        start, end = (
            seconds(cells[columns[name]], f"{where}: '{cells[columns[name]][:40]}'") if name in columns else None
            for name in ("start", "end")
        )
        if end is not None and end <= (start or 0.0):
            raise UserError(f"{where}: end {end:g} s is not after start {start or 0.0:g} s")
        name = cells[columns["id"]]
        if not name or "/" in name or "\0" in name:
            raise UserError(f"{where}: '{name[:60]}' is not a clip's id: every line is {FORMATS}")
        wanted.append(Wanted(name, _label(cells[columns["label"]], where), split, start, end, where))
    return wanted


def _columns(row: tuple[str, list[str]]) -> dict[str, int]:
    """Which column is what, from the first line of a list without header."""
    where, cells = row
    if len(cells) == 3 and cells[1].replace(".", "", 1).isdigit():
        return {"id": 0, "label": 2}
    if len(cells) == 2:
        return {"id": 0, "label": 1}
    if len(cells) == 4:
        return {"id": 0, "label": 1, "start": 2, "end": 3}
    raise UserError(f"{where}: '{','.join(cells)[:80]}' has not the columns of a list: every line is {FORMATS}")


def _label(text: str, where: str) -> str:
    """A class by its id or its name, in Kinetics' spelling with spaces, too."""
    if text.isdigit():
        if int(text) < len(CLASSES):
            return CLASSES[int(text)]
        raise UserError(
            f"{where}: class id {text} is unknown: Kinetics-Sounds has 0 ({CLASSES[0]}) to {len(CLASSES) - 1}"
            f" ({CLASSES[-1]}), in alphabetical order"
        )
    name = class_name(text)
    if name in CLASSES:
        return name
    raise UserError(
        f"{where}: class '{text[:60]}' is not one of the {len(CLASSES)} of Kinetics-Sounds"
        + nearest(name, list(CLASSES))
    )


def class_name(text: str) -> str:
    """'Playing guitar' -> 'playing_guitar': how folders and lists spell a class varies."""
    return text.strip().lower().replace(" ", "_").replace("-", "_")
