"""The kinds of datasets: kind -> where its code and its settings are.

One line per kind; nothing here imports a media library.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from equimodal.settings.datasets import DatasetSettings

if TYPE_CHECKING:
    from equimodal.datasets.base import DatasetKind


@dataclass(frozen=True)
class Entry:
    """A folder below equimodal.datasets, the class in its `dataset.py`, and the class in its `settings.py`."""

    folder: str
    kind: str
    settings: str

    @property
    def module(self) -> str:
        """Full name of the module that reads datasets of this kind: the code that raw and index add to their own."""
        return f"equimodal.datasets.{self.folder}.dataset"

    def load(self) -> "type[DatasetKind]":
        """The kind's class."""
        return getattr(import_module(self.module), self.kind)

    def load_settings(self) -> type[DatasetSettings]:
        """The class of its settings; its field `kind` is a Literal with the kind's name."""
        return getattr(import_module(f"equimodal.datasets.{self.folder}.settings"), self.settings)


KINDS: dict[str, Entry] = {
    "cremad": Entry("cremad", "Cremad", "CremadSettings"),
    "ks": Entry("ks", "KineticsSounds", "KineticsSoundsSettings"),
    "mosi": Entry("mosi", "Mosi", "MosiSettings"),
    "ucf101": Entry("ucf101", "Ucf101", "Ucf101Settings"),
    "table": Entry("table", "Table", "TableSettings"),
}


def dataset_kind(name: str, settings: DatasetSettings, workers: int) -> "DatasetKind":
    """The dataset `name` of params.yaml, ready to be read."""
    return KINDS[settings.kind].load()(name, settings, workers)
