"""The kinds of datasets: kind -> where it is. One line a kind; nothing here imports a media library."""

from importlib import import_module

from equimodal.datasets.base import DatasetKind
from equimodal.settings import Params

KINDS: dict[str, str] = {
    "cremad": "cremad:Cremad",
    "table": "table:Table",
}


def module_of(kind: str) -> str:
    """Full name of the module that reads datasets of this kind: the code that raw and index add to their own."""
    return f"equimodal.datasets.{KINDS[kind].partition(':')[0]}"


def dataset_kind(params: Params, name: str) -> DatasetKind:
    """The dataset `name` of params.yaml, ready to be read; an unknown name is a UserError."""
    settings = params.dataset(name)
    kind: type[DatasetKind] = getattr(import_module(module_of(settings.kind)), KINDS[settings.kind].partition(":")[2])
    return kind(name, settings, params.runtime.workers)
