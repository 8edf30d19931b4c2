"""Which of a column's numbers is best and which second."""

from collections.abc import Sequence
from typing import Literal

from equimodal.report.formats.cells import Marked
from equimodal.report.result import Spread

Better = Literal["higher", "lower"]


def marked(texts: Sequence[str], values: Sequence[Spread | None], scale: float, better: Better = "higher") -> list[str]:
    """The cells of one column, the best and the second marked.

    Ranked as they are shown: numbers that read alike after rounding `scale` times the mean to one decimal are marked
    alike. With fewer than two numbers there is nothing to mark.
    """
    shown = [None if value is None else round(scale * value.mean, 1) for value in values]
    ranked = sorted({number for number in shown if number is not None}, reverse=better == "higher")
    if sum(number is not None for number in shown) < 2:
        return list(texts)
    cells: list[str] = []
    for text, number in zip(texts, shown, strict=True):
        if number is not None and number == ranked[0]:
            cells.append(Marked(text, "best"))
        elif number is not None and len(ranked) > 1 and number == ranked[1]:
            cells.append(Marked(text, "second"))
        else:
            cells.append(text)
    return cells
