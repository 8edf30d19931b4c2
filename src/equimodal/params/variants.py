"""JSON schema of a dataset that has a `base`: any key of any kind, nothing required, null in place of a section."""

from collections.abc import Iterable
from typing import Any

OPTIONAL = ("ModelSettings", "TrainingSettings", "Variant")  # sections of which nothing is required


def dataset_variant(parts: dict[str, Any], kinds: Iterable[str]) -> dict[str, Any]:
    """What an entry of `datasets` with a `base` may hold (which of it, its base tells).

    Args:
        parts: name -> definition, of all settings models.
        kinds: names of the definitions of the kinds of datasets.
    """
    entry = _union([_partial({"$ref": f"#/$defs/{kind}"}, parts) for kind in kinds])
    return {**entry, "type": "object", "required": ["base"]}


def _partial(schema: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """`schema` with its sections written out; each may leave out any key, and may be null."""
    told = {key: schema[key] for key in ("description",) if key in schema}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in OPTIONAL:
            return {**told, "anyOf": [{"$ref": schema["$ref"]}, {"type": "null"}]}
        return {**_partial(parts[name], parts), **told}
    if "oneOf" in schema:
        return {**told, **_union([_partial(member, parts) for member in schema["oneOf"]])}
    if "anyOf" in schema:
        return {**schema, "anyOf": [_partial(member, parts) for member in schema["anyOf"]]}
    if schema.get("type") != "object":
        return schema
    below: dict[str, Any] = {
        key: {name: _partial(value, parts) for name, value in schema[key].items()}
        for key in ("properties", "patternProperties")
        if key in schema
    }
    kept = {key: value for key, value in schema.items() if key not in ("required", "default")}
    return {**kept, **below, "type": ["object", "null"]}


def _union(sections: list[dict[str, Any]]) -> dict[str, Any]:
    """A section that may have the keys of any of `sections`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for section in sections:
        for key, value in section["properties"].items():
            values = found.setdefault(key, [])
            if value not in values:
                values.append(value)
    properties = {key: values[0] if len(values) == 1 else {"anyOf": values} for key, values in found.items()}
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
