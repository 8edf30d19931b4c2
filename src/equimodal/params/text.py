"""YAML as params.yaml is written in: sections, lists and plain values, each key once; nothing that stands for something
else (anchors, tags), nothing that is no number (.inf, .nan).

The values are made here, from libyaml's events and in one loop: YAML's own constructors turn words into dates and
octal numbers, follow references without bound, and go down with the depth of the text.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

from equimodal.errors import UserError

# libyaml where PyYAML has it: 3 ms instead of 20 at the start of every job
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

LARGEST = 256 * 1024  # characters, thirteen times the shipped file
DEEPEST = 20  # sections and lists in each other; the shipped file has six
LONGEST = 4096  # characters of a value, as many as a path may have
DIGITS = 18  # of a whole number, which then fits in 64 bits

_WORDS: dict[str, Any] = {
    word: value
    for value, words in ((None, ["null", "~"]), (True, ["true", "yes", "on"]), (False, ["false", "no", "off"]))
    for plain in words
    for word in (plain, plain.capitalize(), plain.upper())
} | {"": None}
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_NUMBER = re.compile(r"[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)\Z")
_NO_NUMBER = re.compile(r"([-+]?\.inf|\.nan)\Z", re.IGNORECASE)
# a message about such a value would not be one line, and no file can be called so
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass
class _Open:
    """A section (`values` is a dict) or a list whose end has not come; `key` waits for its value."""

    values: Any
    key: str | None = None
    lines: dict[str, int] = field(default_factory=dict)

    @property
    def place(self) -> str | None:
        """The part of the path that what comes next has here."""
        return self.key if isinstance(self.values, dict) else str(len(self.values))


def read_yaml(text: str, where: str) -> Any:
    """The values of a YAML text. Words and numbers are those of YAML 1.2 (`1e-3` is a number, `0_1` and `2026-01-01`
    are words), with yes, no, on and off.

    Raises:
        UserError: not valid YAML, more than `LARGEST` characters, deeper than `DEEPEST`; a key that one section gives
            twice (with both lines): YAML would drop the first without a word; a key that is no word; an anchor, an
            alias or a merge key: whoever changes a value by a program (`dvc exp run -S`) changes it in both places; a
            tag; a number that is infinite or none, or too long.
    """
    if len(text) > LARGEST:
        raise UserError(
            f"{where} has more than {LARGEST:,} characters, far beyond any settings: is this the right file?"
        )
    try:
        return _built(yaml.parse(text, Loader=LOADER), where)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        words = [getattr(error, "context", None), getattr(error, "problem", None) or getattr(error, "reason", error)]
        raise UserError(f"{where}{line} is not valid YAML: {', '.join(str(word) for word in words if word)}") from None


def flow(value: Any) -> str:
    """A value as params.yaml would have it, in one line."""
    written = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return written.removesuffix("...\n").strip()


def _built(events: Iterable[yaml.Event], where: str) -> Any:
    root = _Open([])
    opened = [root]
    for event in events:
        here = opened[-1]
        if isinstance(event, yaml.ScalarEvent):
            if isinstance(here.values, dict) and here.key is None:
                here.key = _key(event, opened, where)
                continue
            value = _value(event, opened, where)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            _refuse_marks(event, where)
            if isinstance(here.values, dict) and here.key is None:
                raise UserError(f"{where}, line {event.start_mark.line + 1}: a key must be a word")
            if len(opened) > DEEPEST:
                raise UserError(
                    f"{where}, line {event.start_mark.line + 1}: more than {DEEPEST} sections and lists in each other"
                )
            opened.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else []))
            continue
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            value = opened.pop().values
            here = opened[-1]
        elif isinstance(event, yaml.AliasEvent):
            _refuse_marks(event, where)
            continue
        elif isinstance(event, yaml.DocumentStartEvent) and root.values:
            raise UserError(f"{where}, line {event.start_mark.line + 1}: a second document (---) in one file")
        else:
            continue
        if isinstance(here.values, dict):
            assert here.key is not None
            here.values[here.key], here.key = value, None
        else:
            here.values.append(value)
    return root.values[0] if root.values else None


def _key(event: yaml.ScalarEvent, opened: list[_Open], where: str) -> str:
    """A key as it is written: `1`, `on` and `null` are words here."""
    _refuse_marks(event, where)
    here, line, key = opened[-1], event.start_mark.line + 1, str(event.value)
    if len(key) > 100 or _UNPRINTABLE.search(key):
        raise UserError(f"{where}, line {line}: {_short(key)} cannot be a key")
    if key in here.lines:
        raise UserError(
            f"{where}: {_path(opened[:-1], key)} is given twice, in lines {here.lines[key]} and {line}: keep one"
        )
    here.lines[key] = line
    return key


def _value(event: yaml.ScalarEvent, opened: list[_Open], where: str) -> Any:
    _refuse_marks(event, where)
    word = event.value
    if len(word) <= LONGEST and event.implicit[0]:
        if word in _WORDS:
            return _WORDS[word]
        if _WHOLE.match(word):
            if len(word) > DIGITS:
                raise UserError(f"{where}: {_path(opened)} = {_short(word)}: at most {DIGITS} digits can be of use")
            return int(word)
        if _NO_NUMBER.match(word) or (_NUMBER.match(word) and math.isinf(float(word))):
            raise UserError(f"{where}: {_path(opened)} = {_short(word)}: should be a finite number")
        if _NUMBER.match(word):
            return float(word)
    return _printable(word, opened, where)


def _printable(word: str, opened: list[_Open], where: str) -> str:
    if len(word) > LONGEST:
        raise UserError(f"{where}: {_path(opened)} has {len(word):,} characters: at most {LONGEST:,} can be of use")
    if found := _UNPRINTABLE.search(word):
        raise UserError(f"{where}: {_path(opened)} has the character {found[0]!r}, which cannot be printed")
    return word


def _refuse_marks(event: Any, where: str) -> None:
    line = event.start_mark.line + 1
    if isinstance(event, yaml.AliasEvent):
        mark = f"the alias *{event.anchor}"
    elif event.anchor is not None:
        mark = f"the anchor &{event.anchor}"
    elif event.tag is not None:
        raise UserError(f"{where}, line {line}: the tag {_short(event.tag)} is not understood here: leave it out")
    elif isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
        mark = "the merge key <<"
    else:
        return
    raise UserError(
        f"{where}, line {line}: {_short(mark)} is not understood here: name the `base` of a dataset or method, and what"
        " differs"
    )


def _path(opened: list[_Open], *more: str) -> str:
    """The dotted path of what comes next."""
    return ".".join([*(str(each.place) for each in opened[1:]), *more]) or "the whole file"


def _short(word: str) -> str:
    """At most 60 printable characters of it."""
    word = word if word.isprintable() else ascii(word)
    return word if len(word) <= 60 else word[:57] + "..."
