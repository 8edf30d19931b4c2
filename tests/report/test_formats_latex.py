"""LaTeX: escapes, marks, one environment per table."""

from equimodal.report.formats.cells import Marked
from equimodal.report.formats.latex import escaped, latex


def test_escapes():
    assert (
        escaped("a_b & 5 % $x$ #1 {y} ~ ^ \\")
        == r"a\_b \& 5 \% \$x\$ \#1 \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert (
        escaped("80.2 ± 1.6 †‡ – < > |")
        == r"80.2 $\pm$ 1.6 $\dagger$$\ddagger$ -- \textless{} \textgreater{} \textbar{}"
    )


def test_a_minus_is_no_hyphen_and_a_hyphen_no_minus():
    assert escaped("-1.9 [-3.0, -0.7]") == "$-$1.9 [$-$3.0, $-$0.7]"
    assert escaped("aim-no-pam, CREMA-D, macro-F1, arXiv-2508") == "aim-no-pam, CREMA-D, macro-F1, arXiv-2508"


def test_marks_columns_and_captions():
    text = latex(
        "T",
        [
            ("One", (["a", "b"], [["x_y", Marked("1 %", "best")], ["z", Marked("2", "second")]])),
            ("Two", (["a"], [["b"]])),
        ],
        ["Said & done."],
    )
    assert r"x\_y & \textbf{1 \%} \\" in text and r"z & \underline{2} \\" in text
    assert r"\begin{tabular}{lr}" in text
    assert r"\caption{T: One. Said \& done.}" in text and r"\caption{T: Two.}" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert text.count("{") == text.count("}")


def test_the_whole_of_a_table():
    heads = ["method", "a_b", "p (Holm)", "p (Holm)"]  # two columns of one name, as two baselines have
    text = latex("T", [("One", (heads, [["x", "80.0 ± 1.0 †", "-1", Marked("0", "best")]]))], [])
    assert text == "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            r"\caption{T: One.}",
            r"\begin{tabular}{lrrr}",
            r"\toprule",
            r"method & a\_b & p (Holm) & p (Holm) \\",
            r"\midrule",
            r"x & 80.0 $\pm$ 1.0 $\dagger$ & $-$1 & \textbf{0} \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
