"""What every format is written from: tables of text, in which a cell may stand out."""

from collections.abc import Sequence
from typing import Literal, Self

Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # (heads, rows); the first column is text, the others are numbers


class Marked(str):
    """A cell that stands out: `best` is set bold, `second` underlined."""

    def __new__(cls, text: str, mark: Literal["best", "second"]) -> Self:
        cell = super().__new__(cls, text)
        cell.mark = mark
        return cell

    mark: Literal["best", "second"]


def wrap(cell: str, text: str, best: str, second: str) -> str:
    """`text` in the format of the cell's mark, or as it is."""
    if not isinstance(cell, Marked):
        return text
    return (best if cell.mark == "best" else second).format(text)
