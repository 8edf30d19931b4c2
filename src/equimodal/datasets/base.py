"""What a dataset has to know: how its raw files get here, and how they become a list of samples."""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from equimodal.errors import UserError
from equimodal.files import no_file
from equimodal.settings.datasets import DatasetSettings


@dataclass(frozen=True)
class FileFact:
    """What is known about a raw file: its size, and its sha256 (hex) unless that was not worth the reading."""

    bytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class Sample:
    """One sample before it has a split.

    `paths` maps each modality to its file, relative to the dataset's root; None where a file is known to be absent.
    Features that were computed elsewhere are named as `features.arrays` reads them: a file, or a row of it
    (`text.npy#12`). `start` and `end` are seconds within the clip, None for the whole of it. `split` is what the raw
    data says, if anything.
    """

    id: str
    label: str
    paths: Mapping[str, str | None]
    group: str | None = None
    split: str | None = None
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Listing:
    """The samples of a dataset, its class names in label order, and what is not among them (id -> reason).

    `rejected` are unusable; they count against `max_rejected`. `dropped` are left out because the settings say so.
    """

    classes: tuple[str, ...]
    samples: list[Sample]
    # Rules ogm and lists: "train", "test", and "val" if published -> ids
    lists: Mapping[str, frozenset[str]] | None = field(default=None)
    rejected: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    # Class -> why it is not used: neither among `classes` nor the label of a sample
    left_out: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] | None = (
        None  # ids that the dataset's lists name and the files lack; None where there are no lists of what is wanted
    )


class DatasetKind(ABC):
    """One kind of dataset. A new one is a folder with its settings and a subclass of this, and a line in `registry`.

    Paths are relative to the current directory, which is the project's root.
    """

    has_audio: ClassVar[tuple[str, ...]] = ("spectrogram",)

    def __init__(self, name: str, settings: DatasetSettings, workers: int = 1) -> None:
        self.name = name
        self.settings: Any = settings
        self.workers = workers

    @property
    def produced(self) -> Path:
        """Folder that the raw stage owns and replaces: the manifest, and generated media."""
        return Path("data") / self.name / "raw"

    @property
    def root(self) -> str:
        """Folder that the paths of files are relative to, as written in params.yaml:
        what was generated, else the setting `raw`.
        """
        return self.produced.as_posix() if self.settings.source == "sample" else self.settings.raw

    @abstractmethod
    def acquire(self, scratch: Path) -> dict[str, FileFact]:
        """Generate, check or fetch the raw files: relative path -> what is known of it.

        Args:
            scratch: an empty folder that becomes `produced`; only generated media are written there.

        Raises:
            UserError: what is missing, where to get it, how many GB, which setting to change.
        """

    @abstractmethod
    def listing(self, files: Mapping[str, FileFact]) -> Listing:
        """Samples made of the files of the raw manifest.

        Raises:
            UserError: what makes a list impossible, and what to do.
        """

    def check_apart(self, raw: str) -> None:
        """Refuse a folder or file `raw` of the user's inside `produced`; a UserError that names the setting."""
        if Path(raw).resolve().is_relative_to(self.produced.resolve()):
            raise UserError(
                f"{self.key('raw')} = {raw} lies inside {self.produced}, which is rebuilt: choose another folder"
            )

    def expected(self, files: Mapping[str, FileFact]) -> Mapping[str, FileFact]:
        """What `equimodal verify` compares the files with; the raw manifest where nothing better is published."""
        return files

    def names(self) -> Collection[str]:
        """Paths of a whole copy's files, which `equimodal verify` looks for where no sizes and checksums can be had;
        empty where they are not known either.
        """
        return ()

    def strays(self, expected: Collection[str]) -> list[str]:
        """Files beside the dataset's own that look like media and are none of `expected`: nothing reads them."""
        return []

    def key(self, setting: str) -> str:
        """Full name of one of this dataset's settings, for messages."""
        return f"datasets.{self.name}.{setting}"


def seconds(text: str, where: str) -> float | None:
    """A time in seconds, None for an empty cell; a UserError that begins with `where` and the text if it is none."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise UserError(f"{where} is not a time in seconds (0 or more)")
    return value


def some_of(names: list[str], most: int = 5) -> str:
    """The first few of many names, for one line of a message."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def size_of(path: Path, where: str) -> int:
    """Size of a file in bytes; a UserError that ends in `where` if it cannot be told."""
    try:
        if (why := no_file(path)) is not None:
            raise UserError(f"{path} {why}: {where}")
        with open(path, "rb"):
            return path.stat().st_size
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {where}") from None
