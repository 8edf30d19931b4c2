"""Common base of every settings model, and the error a wrong params.yaml gets."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict, ValidationError
from pydantic_core import ErrorDetails

from equimodal.errors import UserError

T = TypeVar("T")
Listed = Annotated[T, Strict(False)]
"""A tuple, which params.yaml writes as a list."""

EPOCHS = 100_000  # largest number of any setting that counts epochs


def _whole(value: Any) -> Any:
    if isinstance(value, bool | float):
        raise ValueError("should be a whole number")
    return value


Whole = BeforeValidator(_whole)
"""For a choice of whole numbers: Python takes `true` and `1.0` for 1."""


class Settings(BaseModel):
    """Frozen, closed to unknown keys, each value of the very type that is asked for (a whole number will do for a
    number); `presets` are named sets of values that explicit keys override.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)

    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    @classmethod
    def read(cls, value: Any, where: str, layers: "Callable[[], Layers]" = tuple) -> Self:
        """Validate `value`; the first mistake becomes one line that names the key and the nearest valid one.

        Args:
            where: the section that it is.
            layers: gives the sections that it was merged from, if it was: the mistake is named in that which holds it.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise UserError(describe(cls, error.errors(include_url=False), where, value, layers())) from None

    @classmethod
    def complete(cls) -> bool:
        """Whether every field has a default."""
        return not any(field.is_required() for field in cls.model_fields.values())

    def slice(self) -> dict[str, Any]:
        """Plain JSON-able dict of all values, defaults included."""
        return self.model_dump(mode="json")


Layers = Sequence[tuple[str, Any]]
"""Sections of params.yaml that one is merged from: (its name, what it holds), later ones over earlier ones."""

_WRONG = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "should be a section (key: value)"),
    **dict.fromkeys(("list_type", "tuple_type"), "should be a list"),
    **dict.fromkeys(("int_type", "int_from_float"), "should be a whole number"),
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "string_type": "should be text",
}


def describe(
    model: type[BaseModel], problems: Sequence[ErrorDetails], where: str, given: Any = None, layers: Layers = ()
) -> str:
    """One line for the first of the problems that validating `given` has; `where` and `layers` as `Settings.read` has
    them.
    """
    # A default that follows from another key is not made where that key is wrong: no mistake of its own.
    problems = [problem for problem in problems if problem["type"] != "default_factory_not_called"]
    problem = problems[0]
    kind, place = problem["type"], problem["loc"]
    tags = _tags(place, given, kind == "missing")
    path = [part for i, part in enumerate(place) if i not in tags]
    key = ".".join([holder(layers, path) or where, *map(str, path)]).strip(".")
    if kind == "extra_forbidden":
        return f"params.yaml: unknown key {key}" + nearest(str(place[-1]), _valid_keys(model, place[:-1], tags))
    if place[-1:] == ("[key]",):
        name = key.removesuffix(".[key]")
        return f"params.yaml: {name}: a name is lower-case letters and digits, 60 at most, with single hyphens between"
    more = len(problems) - 1
    wrong = _WRONG.get(kind) or problem["msg"].removeprefix("Value error, ")
    if kind in ("union_tag_invalid", "union_tag_not_found"):  # of sections that differ by `kind`
        tag = problem["input"].get("kind")
        valid = problem.get("ctx", {}).get("expected_tags", "")
        return f"params.yaml: {key}.kind {f'= {shown(tag)} is unknown; valid: {valid}' if valid else 'is missing'}"
    what = "is missing" if kind == "missing" else f"= {shown(problem.get('input'))}: {wrong}"
    return f"params.yaml: {key} {what}" + (f" (and {more} more)" if more else "")


def shown(value: Any) -> str:
    """The value in a message, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def holder(layers: Layers, path: Sequence[Any]) -> str | None:
    """The last of the sections in which `path` stands; None where it stands in none."""
    for name, section in reversed(layers):
        here = section
        for part in path:
            keys = here if isinstance(here, Mapping) else range(len(here)) if isinstance(here, list) else ()
            if part not in keys:
                break
            here = here[part]
        else:
            if path or here:
                return name
    return None


def _tags(place: tuple[Any, ...], given: Any, missing: bool) -> set[int]:
    """Positions in pydantic's path to a problem that params.yaml does not have:
    it also names the members of unions on the way.
    """
    tags: set[int] = set()
    fresh = True  # a section's kind is named at most once, before any of its keys: a table has a key `table`, too
    for i, part in enumerate(place):
        if fresh and isinstance(given, Mapping) and given.get("kind") == part:
            tags.add(i)
            fresh = False
        elif part in (
            given if isinstance(given, Mapping) else range(len(given)) if isinstance(given, list | tuple) else ()
        ):
            given, fresh = given[part], True
        elif given is not None and not (missing and i == len(place) - 1):
            tags.add(i)
    return tags


def nearest(word: str, valid: list[str]) -> str:
    """'; did you mean X?' or the list of valid words."""
    close = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; valid keys: {', '.join(sorted(valid))}" if valid else ""


def hint(word: str, valid: list[str]) -> str:
    """'; did you mean X?', or nothing: for messages that list the valid words themselves."""
    found = nearest(word, valid)
    return found if "did you mean" in found else ""


def _valid_keys(model: Any, path: tuple[Any, ...], tags: set[int]) -> list[str]:
    """The field names allowed at `path` below `model`, as far as they can be told; `tags` are positions in it that name
    a member of a union.
    """
    from typing import get_args

    candidates = [model]
    for i, part in enumerate(path):
        models = [
            candidate for candidate in candidates if isinstance(candidate, type) and issubclass(candidate, BaseModel)
        ]
        below = (
            [] if i in tags else [model.model_fields[part].annotation for model in models if part in model.model_fields]
        )
        if below:
            candidates = _models_in(below, get_args)
        else:  # a union tag or a dict key names no field: stay, but prefer the tagged member
            tagged = [c for c in candidates if _tag(c) == part]
            candidates = tagged or candidates
    return sorted(
        {name for c in candidates if isinstance(c, type) and issubclass(c, BaseModel) for name in c.model_fields}
    )


def _models_in(annotations: list[Any], get_args: Any) -> list[Any]:
    found: list[Any] = []
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        else:
            found.extend(_models_in([a for a in get_args(annotation) if a is not type(None)], get_args))
    return found


def _tag(model: Any) -> Any:
    """The value of a model's `kind` literal, which tells the members of a union apart."""
    from typing import get_args

    field = getattr(model, "model_fields", {}).get("kind")
    values = get_args(field.annotation) if field else ()
    return values[0] if values else None


def layered(model: type[Settings], layers: Layers) -> dict[str, Any]:
    """Merge layers, later ones over earlier ones; in each, a `preset` is expanded below its explicit keys."""
    merged: dict[str, Any] = {}
    for where, explicit in layers:
        preset = explicit.get("preset")
        if preset is not None:
            if not isinstance(preset, str) or preset not in model.presets:
                valid = ", ".join(sorted(model.presets)) or "none"
                raise UserError(f"params.yaml: {where}.preset = {shown(preset)} is unknown; valid: {valid}")
            merged = deep_merge(merged, model.presets[preset])
        merged = deep_merge(merged, explicit)
    return merged


def deep_merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`; nested mappings are merged key by key, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = deep_merge(merged[key], value)
        else:
            merged[key] = value
    return merged
