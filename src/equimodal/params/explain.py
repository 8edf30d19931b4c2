"""What a key of params.yaml means: description, type, default and value, from the settings models."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.params.text import flow
from equimodal.settings.base import nearest

# `base` is resolved before a method's settings are read, and so is none of them.
BASE = FieldInfo(
    annotation=str | None, default=None, description="the method that this one is based on: the rest is as there"
)

_NAMES: dict[Any, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true | false",
    type(None): "null",
    Any: "any value",
}


def explain(params: Params, key: str) -> str:
    """A few lines on `key`, a dotted path such as `training.optimizer.lr`, `datasets.cremad.split.rule` or
    `methods.aim.tau`.

    Raises:
        UserError: no such key; the nearest valid one is named.
    """
    here: Any = params
    described: FieldInfo | None = None
    gone: list[str] = []
    for part in key.split("."):
        if gone == ["datasets"] and part in params.broken:
            params.dataset(part)
        below = _below(params, here, gone)
        if part not in below:
            raise UserError(
                f"no key {key} in params.yaml: {'.'.join(gone) or 'the top level'} has no '{part}'"
                + nearest(part, list(below))
            )
        described, here = below[part]
        gone.append(part)
    lines = [key]
    if described is not None:
        if described.description:
            lines.append(f"  {described.description}")
        lines.append(f"  type     {_type_name(described.annotation)}")
        if not described.is_required():
            lines.append(f"  default  {_as_yaml(described.get_default(call_default_factory=True, validated_data={}))}")
    elif isinstance(here, BaseModel) and here.__doc__:
        lines.append(f"  {here.__doc__.splitlines()[0]}")
    below = _below(params, here, gone)
    lines.append(f"  keys     {', '.join(below)}" if below else f"  now      {_as_yaml(here)}")
    return "\n".join(lines)


def sections(params: Params) -> str:
    """The sections of params.yaml, a line each, and how to go on."""
    lines = []
    for name, field in type(params).model_fields.items():
        value = getattr(params, name)
        what = field.description or (type(value).__doc__ or "").splitlines()[0]
        lines.append(f"{name:<10}{what}")
    return "\n".join(
        [*lines, "", "equimodal explain SECTION lists its keys, equimodal explain SECTION.KEY tells what one means"]
    )


def _below(params: Params, here: Any, path: list[str]) -> dict[str, tuple[FieldInfo | None, Any]]:
    """The keys under a place in params.yaml: name -> (field, value)."""
    if path == ["methods"]:
        return {name: (None, params.methods.get(name, {})) for name in params.method_names}
    # As the first dataset of the study sees the method, overrides included.
    if path[:1] == ["methods"] and len(path) == 2:
        dataset = params.first
        below = _below(params, params.method(dataset, path[1]).settings, [])
        return {**below, "base": (BASE, params.methods.get(path[1], {}).get("base"))}
    if path[:1] == ["datasets"] and len(path) == 3 and path[2] in ("model", "training"):
        here = params.model_of(path[1]) if path[2] == "model" else params.training_of(path[1])
    if isinstance(here, BaseModel):
        return {field.alias or name: (field, getattr(here, name)) for name, field in type(here).model_fields.items()}
    if isinstance(here, Mapping):
        return {name: (None, value) for name, value in here.items()}
    return {}


def _as_yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        return f"a section: {', '.join(type(value).model_fields)}"
    if isinstance(value, float):
        return str(value)
    return flow(to_jsonable_python(value))


def _type_name(annotation: Any) -> str:
    """A type as a user would say it: choices as a | b, optional as `or null`."""
    arguments, origin = get_args(annotation), get_origin(annotation)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin in (list, tuple):
        kinds = list(dict.fromkeys(_type_name(argument) for argument in arguments if argument is not Ellipsis))
        count = f"{len(arguments)} x " if origin is tuple and Ellipsis not in arguments else ""
        return f"list of {count}{' or '.join(kinds)}"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "section"
    if arguments:
        return " or ".join(dict.fromkeys(map(_type_name, arguments)))
    return _NAMES[annotation]
