"""A look at a pickle's instructions before any is carried out: what they ask for must fit the file that asks.

Some bytes can ask for gigabytes (the place 2**31 of the memo), for tuples so deep that hashing them ends the process,
or for one text to be copied a million times.
"""

import io
import pickletools
from dataclasses import dataclass
from typing import BinaryIO

OPCODES = 5_000_000  # a packaging has some thousands
DEPTH = 200  # of containers within containers
COPIES = 4  # of all that the file holds

_PUT = ("PUT", "BINPUT", "LONG_BINPUT")
_GET = ("GET", "BINGET", "LONG_BINGET")
_FILLS = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")


class ExcessiveError(Exception):
    """What the instructions ask for and the file does not hold."""


@dataclass(frozen=True)
class _Value:
    """What is known of a value on the stack: containers around its innermost, bytes of text in it."""

    depth: int = 0
    bytes: int = 0


class _Bounded:
    """A file that is not asked for more than it holds: Python would make room for that first."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        here = file.tell()
        self.size = file.seek(0, io.SEEK_END)
        file.seek(here)

    def read(self, count: int) -> bytes:
        """`count` bytes; an EOFError if there are fewer."""
        left = self.size - self.file.tell()
        if count > left:
            raise EOFError(f"it asks for {count} bytes where {left} are left")
        return self.file.read(count)

    def readline(self) -> bytes:
        """Up to the line's end."""
        return self.file.readline()

    def tell(self) -> int:
        """Bytes read."""
        return self.file.tell()


def check_program(file: BinaryIO, copies: float = COPIES) -> None:
    """Read a pickle's instructions, from where the file stands to their end.

    Args:
        file: it can be sought in.
        copies: of what the file holds, at most.

    Raises:
        ExcessiveError: more instructions, depth, copies or memory than such a file needs.
        Exception: nearly any, about what is no pickle.
    """
    bounded = _Bounded(file)
    stack: list[_Value | None] = []  # None: a mark
    memo: dict[int, _Value] = {}
    copied = 0
    for number, (code, argument, _) in enumerate(pickletools.genops(bounded)):  # type: ignore[arg-type]
        if number >= OPCODES:
            raise ExcessiveError(f"it has more than {OPCODES} instructions")
        place = argument if isinstance(argument, int) else 0
        if code.name in _PUT:
            if place > number:
                raise ExcessiveError(f"it asks for place {place} of the memo after {number} instructions")
            memo[place] = stack[-1] or _Value()
        elif code.name == "MEMOIZE":
            memo[len(memo)] = stack[-1] or _Value()
        elif code.name in _GET:
            stack.append(memo[place])
        elif code.name == "MARK":
            stack.append(None)
        else:
            taken = _taken(code, stack)
            made = _made(code, argument, taken)
            if made.depth > DEPTH:
                raise ExcessiveError(f"containers within containers, more than {DEPTH} deep")
            if code.name in ("BUILD", "REDUCE"):
                copied += made.bytes
            if copied > copies * bounded.size:
                raise ExcessiveError(f"it makes more than {copies} copies of what it holds")
            stack += [made] * len(code.stack_after)


def _taken(code: pickletools.OpcodeInfo, stack: list[_Value | None]) -> list[_Value]:
    """What an instruction takes from the stack, the topmost first."""
    taken: list[_Value] = []
    wanted = len(code.stack_before)
    if pickletools.markobject in code.stack_before:
        while (top := stack.pop()) is not None:
            taken.append(top)
        wanted = code.stack_before.index(pickletools.markobject)
    return taken + [stack.pop() or _Value() for _ in range(wanted)]


def _made(code: pickletools.OpcodeInfo, argument: object, taken: list[_Value]) -> _Value:
    """What it leaves there."""
    if not taken:
        return _Value(0, len(argument) if isinstance(argument, str | bytes | bytearray) else 0)
    size = sum(value.bytes for value in taken)
    if code.name == "DUP":
        return taken[0]
    if code.name in _FILLS:
        *items, container = taken
        return _Value(max(container.depth, 1 + max((item.depth for item in items), default=-1)), size)
    return _Value(1 + max(value.depth for value in taken), size)
