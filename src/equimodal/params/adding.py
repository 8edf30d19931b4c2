"""A further dataset in the text of params.yaml, whose other lines, comments included, stay as they are."""

from typing import Any

import yaml

from equimodal.errors import UserError
from equimodal.params.text import LOADER, flow


def with_dataset(text: str, name: str, entry: dict[str, Any], comment: str) -> str:
    """The text with `datasets.NAME` as the section's last entry.

    Args:
        comment: one line beside its name.

    Raises:
        UserError: there is such an entry, or no section `datasets` with a line for each entry.
    """
    root = yaml.compose(text, Loader=LOADER)
    sections = root.value if isinstance(root, yaml.MappingNode) else []
    section = next((value for key, value in sections if key.value == "datasets"), None)
    if not isinstance(section, yaml.MappingNode) or section.flow_style or not section.value:
        raise UserError(
            "params.yaml has no section `datasets` with an entry a line: write one, or take the shipped one"
        )
    if name in (key.value for key, _ in section.value):
        raise UserError(f"params.yaml has a dataset '{name}' already: choose another --name, or delete that entry")
    lines = text.splitlines(keepends=True)
    first, last = section.start_mark, section.value[-1][1].end_mark
    end = last.line + (last.column > 0)  # a block ends at the beginning of what follows
    while end > 0 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    if not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    return "".join([*lines[:end], "\n", *block(name, entry, comment, first.column), *lines[end:]])


def block(name: str, entry: dict[str, Any], comment: str, indent: int) -> list[str]:
    """Lines of an entry: a key a line, of `modalities` a modality a line."""
    lines = [f"{name}:  # {comment}"]
    for key, value in entry.items():
        if key == "modalities":
            lines += [f"  {key}:", *(f"    {modality}: {flow(feature)}" for modality, feature in value.items())]
        else:
            lines.append(f"  {key}: {flow(value)}")
    return [f"{' ' * indent}{line}\n" for line in lines]
