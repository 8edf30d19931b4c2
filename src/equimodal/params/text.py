"""YAML as params.yaml is written in: no key is given twice, and no section stands for another (anchors)."""

from typing import Any

import yaml

from equimodal.errors import UserError

LOADER = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml where PyYAML has it: 4 ms instead of 21 at the start of every job


def read_yaml(text: str, where: str) -> Any:
    """The values of a YAML text.

    Raises:
        UserError: not valid YAML; a key that one section gives twice (with both lines): YAML would drop the first
            without a word; an anchor, an alias or a merge key: whoever changes a value by a program (`dvc exp run -S`)
            changes it in both places.
    """
    loader = LOADER(text)
    try:
        _refuse_anchors(text, where)
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_repeats(root, where)
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from None
    finally:
        loader.dispose()


def _refuse_anchors(text: str, where: str) -> None:
    if not any(mark in text for mark in ("&", "*", "<<")):
        return
    for event in yaml.parse(text, Loader=LOADER):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            mark = f"the alias *{anchor}"
        elif anchor is not None:
            mark = f"the anchor &{anchor}"
        elif isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
            mark = "the merge key <<"
        else:
            continue
        raise UserError(
            f"{where}, line {event.start_mark.line + 1}: {mark} is not understood here: name the `base` of a dataset"
            " or method, and what differs"
        )


def _refuse_repeats(root: yaml.Node, where: str) -> None:
    waiting: list[tuple[yaml.Node, tuple[str, ...]]] = [(root, ())]
    while waiting:
        node, path = waiting.pop(0)
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, path) for item in node.value]
        elif isinstance(node, yaml.MappingNode):
            lines: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                waiting.append((value, (*path, str(key.value))))
                if not isinstance(key, yaml.ScalarNode):
                    continue
                same, line = (key.tag, key.value), key.start_mark.line + 1
                if same in lines:
                    raise UserError(
                        f"{where}: {'.'.join((*path, key.value))} is given twice, in lines {lines[same]} and"
                        f" {line}: keep one"
                    )
                lines[same] = line
