"""Markdown: escapes, marks, columns that line up, text left as it is."""

from equimodal.report.formats.cells import Marked
from equimodal.report.formats.markdown import markdown


def lines(heads, rows):
    return markdown("T", [("One", (heads, rows))], ["text"]).splitlines()


def test_the_whole_of_a_table():
    heads = ["method", "a|b", "p (Holm)", "p (Holm)"]  # two columns of one name, as two baselines have
    rows = [["x|y", Marked("80.0", "best"), "1e-05", "–"], ["z", Marked("9", "second"), "60.0  62.0", "-1 [-3, +2]"]]
    assert lines(heads, rows) == [
        "# T",
        "",
        "text",
        "",
        "## One",
        "",
        r"| method   |         a\|b |   p (Holm) |    p (Holm) |",
        "|:---------|-------------:|-----------:|------------:|",
        r"| x\|y     |     **80.0** |      1e-05 |           – |",
        "| z        | <ins>9</ins> | 60.0  62.0 | -1 [-3, +2] |",
    ]


def test_numbers_stay_the_text_that_they_are():
    assert lines(["m", "n"], [["007", "80.0"], ["nan", "1,000"]])[-2:] == ["| 007 |  80.0 |", "| nan | 1,000 |"]


def test_one_column():
    assert lines(["method"], [["joint"]])[-1] == "| joint    |"
