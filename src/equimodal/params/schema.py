"""JSON schema of params.yaml, for completion and checks in editors; `equimodal schema` writes it, a test compares it
with the models.
"""

from typing import Any

from pydantic.json_schema import models_json_schema

from equimodal.datasets.registry import KINDS
from equimodal.methods.registry import METHODS
from equimodal.params import Params
from equimodal.params.variants import dataset_variant
from equimodal.settings.training import ModelSettings, TrainingSettings

TEMPLATE = "#/$defs/{model}"


def params_schema() -> dict[str, Any]:
    """The schema. An override of a section is the section, as nothing in it is required; a variant may hold any
    method's settings.
    """
    kinds = {entry.load_settings() for entry in METHODS.values()}
    wanted = [
        (model, "validation")
        for model in (Params, ModelSettings, TrainingSettings, *sorted(kinds, key=lambda kind: kind.__name__))
    ]
    _, schema = models_json_schema(wanted, by_alias=True, ref_template=TEMPLATE)  # type: ignore[arg-type]
    parts = _untitled(schema["$defs"])
    parts["Variant"] = _variant(parts)
    for name, definition in parts.items():
        properties = definition.get("properties", {})
        if name != "Params":
            for section, model in (("model", ModelSettings), ("training", TrainingSettings)):
                if section in properties:
                    properties[section] = {
                        "description": properties[section]["description"],
                        "$ref": TEMPLATE.format(model=model.__name__),
                    }
        if "patternProperties" in properties.get("methods", {}):
            names = properties["methods"]["patternProperties"]
            properties["methods"]["patternProperties"] = {
                pattern: {"$ref": TEMPLATE.format(model="Variant")} for pattern in names
            }
    params = parts.pop("Params")
    entries = params["properties"]["datasets"]["patternProperties"]
    parts["DatasetVariant"] = dataset_variant(parts, [entry.load_settings().__name__ for entry in KINDS.values()])
    variant = {"if": {"required": ["base"]}, "then": {"$ref": TEMPLATE.format(model="DatasetVariant")}}
    for pattern, entry in entries.items():
        entries[pattern] = {**variant, "else": entry}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **params, "title": "params.yaml", "$defs": parts}


def _untitled(schema: Any) -> Any:
    """Without pydantic's titles, which repeat the keys, and without the defaults of sections,
    which their own keys state.
    """
    if isinstance(schema, dict):
        return {
            key: _untitled(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str)) and not (key == "default" and isinstance(value, dict))
        }
    return [_untitled(item) for item in schema] if isinstance(schema, list) else schema


def _variant(parts: dict[str, Any]) -> dict[str, Any]:
    """What an entry of `methods` may hold: `base`,
    and the settings of any registered method (which one, its base tells).
    """
    found: dict[str, list[Any]] = {}
    for entry in METHODS.values():
        for key, value in parts[entry.load_settings().__name__]["properties"].items():
            if _rule(value) not in map(_rule, found.setdefault(key, [])):
                found[key].append(value)
    # Methods may have settings of one name with other types and limits.
    properties = {key: values[0] if len(values) == 1 else {"anyOf": values} for key, values in found.items()}
    base = {"type": "string", "description": "the method or variant that this one differs from"}
    return {"type": "object", "properties": {"base": base, **properties}, "additionalProperties": False}


def _rule(value: dict[str, Any]) -> dict[str, Any]:
    """What a setting may be, without what it means and what it is when not given."""
    return {key: part for key, part in value.items() if key not in ("description", "default")}
