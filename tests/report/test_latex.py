"""LaTeX: escapes, marks, one environment per table."""

from equimodal.report.latex import escaped, latex
from equimodal.report.pages import Marked


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
