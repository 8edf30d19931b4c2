"""Tables as LaTeX, for a paper: booktabs rules, everything escaped."""

import re
from collections.abc import Sequence

from equimodal.report.pages import Table, wrap

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
    for i, (name, (heads, rows)) in enumerate(tables):
        said = " ".join([f"{title}: {name}.", *lines]) if i == 0 else f"{title}: {name}."
        body = [
            " & ".join(wrap(cell, escaped(cell), r"\textbf{{{}}}", r"\underline{{{}}}") for cell in row) + r" \\"
            for row in rows
        ]
        parts += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(said)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
            r"\toprule",
            " & ".join(map(escaped, heads)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(parts) + "\n"
