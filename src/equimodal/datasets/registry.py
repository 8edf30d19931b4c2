"""The kinds of datasets: kind -> where its code and its settings are. One line a kind; nothing here imports a media library."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from equimodal.settings.datasets import DatasetSettings

if TYPE_CHECKING:
    from equimodal.datasets.base import DatasetKind
    from equimodal.settings import Params


@dataclass(frozen=True)
class Entry:
    """A module below equimodal.datasets, and in it the kind's class and the class of its settings."""

    module: str
    kind: str
    settings: str

    @property
    def module_name(self) -> str:
        """Full module name."""
        return f"equimodal.datasets.{self.module}"

    def load(self) -> "type[DatasetKind]":
        """The kind's class."""
        return getattr(import_module(self.module_name), self.kind)

    def load_settings(self) -> type[DatasetSettings]:
        """The class of its settings; its field `kind` is a Literal with the kind's name."""
        return getattr(import_module(self.module_name), self.settings)


KINDS: dict[str, Entry] = {
    "cremad": Entry("cremad", "Cremad", "CremadSettings"),
    "ks": Entry("ks", "KineticsSounds", "KineticsSoundsSettings"),
    "mosi": Entry("mosi", "Mosi", "MosiSettings"),
    "ucf101": Entry("ucf101", "Ucf101", "Ucf101Settings"),
    "table": Entry("table", "Table", "TableSettings"),
}


def module_of(kind: str) -> str:
    """Full name of the module that reads datasets of this kind: the code that raw and index add to their own."""
    return KINDS[kind].module_name


def dataset_kind(params: "Params", name: str) -> "DatasetKind":
    """The dataset `name` of params.yaml, ready to be read; an unknown name is a UserError."""
    settings = params.dataset(name)
    return KINDS[settings.kind].load()(name, settings, params.runtime.workers)
