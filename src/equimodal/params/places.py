"""Where a setting stands in params.yaml, for messages: in `methods`, in a dataset's overrides, or in its base's."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from equimodal.params.bases import base_chain
from equimodal.settings.base import Layers, holder

if TYPE_CHECKING:
    from equimodal.params.resolve import Params


def of_entry(written: Mapping[str, Any], dataset: str, *path: str) -> list[tuple[str, Any]]:
    """A section of a dataset as each entry of its chain of bases has it: (its name in params.yaml, what it holds), the
    dataset's own last.

    Args:
        written: section `datasets`, before any `base`.
        path: to the section; none for the whole entry.
    """
    layers = []
    for name in base_chain(written, dataset) if dataset in written else ():
        section = written[name]
        for part in path:
            section = section.get(part) if isinstance(section, Mapping) else None
        if section:
            layers.append((".".join(["datasets", name, *path]), section))
    return layers


def of_dataset(params: "Params", dataset: str, *path: str) -> Layers:
    """The same of a dataset that is read; below all entries what the section is in the end, whose rest comes from a
    protocol.
    """
    found = params.dataset(dataset).model_dump(include={path[0]})
    for part in path:
        found = found.get(part, {})
    return [(".".join(["datasets", dataset, *path]), found), *of_entry(params.written, dataset, *path)]


def place(params: "Params", dataset: str, *path: str) -> str:
    """What a setting of a dataset is called where it stands: `datasets.cremad.training.epochs`, or that of its base."""
    return ".".join([holder(of_entry(params.written, dataset), path) or f"datasets.{dataset}", *path])


def of_method(params: "Params", dataset: str, name: str) -> Layers:
    """The sections that a method's settings on a dataset are merged from."""
    return [
        layer
        for link in params.chain(name)
        for layer in ((f"methods.{link}", params.methods.get(link, {})), *of_dataset(params, dataset, "methods", link))
    ]


def key(params: "Params", dataset: str, method: str, setting: str) -> str:
    """What a method's setting is called where its value on a dataset stands: `methods.aim.tau`, or
    `datasets.cremad.methods.aim.tau`.
    """
    return f"{holder(of_method(params, dataset, method), [setting]) or f'methods.{method}'}.{setting}"
