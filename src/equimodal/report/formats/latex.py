"""Tables as LaTeX, for a paper: booktabs rules, everything escaped."""

import re
from collections.abc import Sequence

from equimodal.report.formats.cells import Table, wrap

ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "−": "$-$",
    "×": r"$\times$",
    "–": "--",
    "Δ": r"$\Delta$",
    "²": r"\textsuperscript{2}",
}
NEGATIVE = re.compile(r"(?<![\w.)\]])-(?=\d)")


def escaped(text: str) -> str:
    """Text as LaTeX sets it; a minus before a number becomes a minus, not a hyphen."""
    return "".join(ESCAPES.get(character, character) for character in NEGATIVE.sub("−", text))


def latex(title: str, tables: Sequence[tuple[str, Table]], lines: Sequence[str]) -> str:
    """One `table` environment per table, with its own caption; `lines` are the first one's, the others refer to it."""
    parts = [r"% needs \usepackage{booktabs}"]
    for i, (name, table) in enumerate(tables):
        caption = " ".join([f"{title}: {name}.", *(lines if i == 0 else [])])
        parts.append(_table(*table, caption))
    return "\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    import pandas as pd  # half a second, which a command that writes no table should not wait for

    # pandas could escape, but knows neither of the signs above nor of minuses; nor can it mark cells below equal heads.
    frame = pd.DataFrame([list(map(_cell, row)) for row in rows], columns=list(map(escaped, heads)), dtype=object)
    text = frame.style.hide(axis="index").to_latex(
        caption=escaped(caption),
        column_format="l" + "r" * (len(heads) - 1),
        hrules=True,
        position_float="centering",
    )
    return text.rstrip("\n")


def _cell(cell: str) -> str:
    return wrap(cell, escaped(cell), r"\textbf{{{}}}", r"\underline{{{}}}")
