"""YAML as params.yaml is written in: a key that is given twice is a mistake, not a choice."""

from typing import Any

import yaml

from equimodal.errors import UserError

# libyaml where PyYAML has it: 4 ms instead of 21 at the start of every job
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MERGE = "tag:yaml.org,2002:merge"


def read_yaml(text: str, where: str) -> Any:
    """The values of a YAML text; `<<` takes over the keys of an anchored section,
    below those that the section has itself.

    Raises:
        UserError: not valid YAML, or a key that one section gives twice (with both lines): YAML would drop the first
            without a word.
    """
    loader = LOADER(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_repeats(root, where)  # before `<<` is worked in, which repeats keys on purpose
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from None
    finally:
        loader.dispose()


def _refuse_repeats(root: yaml.Node, where: str) -> None:
    waiting: list[tuple[yaml.Node, tuple[str, ...]]] = [(root, ())]
    seen: set[int] = set()  # an anchored node is met once for each of its aliases, maybe inside itself
    while waiting:
        node, path = waiting.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, path) for item in node.value]
        elif isinstance(node, yaml.MappingNode):
            lines: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                waiting.append((value, (*path, str(key.value))))
                if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
                    continue
                same, line = (key.tag, key.value), key.start_mark.line + 1
                if same in lines:
                    raise UserError(
                        f"{where}: {'.'.join((*path, key.value))} is given twice, in lines {lines[same]} and"
                        f" {line}: keep one"
                    )
                lines[same] = line
