"""Tables and figures of several results: what they say, whose numbers stand where, and that equal input gives equal
bytes.
"""

import csv
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import made_results
from equimodal.report.curves import Curves
from equimodal.report.figures.style import style, write
from equimodal.report.formats.latex import latex
from equimodal.report.names import METHODS, method_name
from equimodal.report.paper import accuracy, curves, leaderboard, points, ranks, unimodal
from equimodal.report.paper.material import Material
from equimodal.stages.paper import FIGURES, TABLES

MODALITIES = {"cremad": ("audio", "visual"), "ks": ("audio", "visual"), "mosi": ("text", "audio", "visual")}
ACCURACIES = {"audio": 0.5, "joint": 0.6, "ogm-ge": 0.64, "aim-e0": 0.55, "aim": 0.7}


def material(datasets=("cremad", "ks"), methods=tuple(ACCURACIES), source="sample", without=()) -> Material:
    pairs = [(d, m) for d in datasets for m in methods if (d, m) not in without]
    own = {pair: (pair[1],) if pair[1] in ("audio", "visual") else MODALITIES[pair[0]] for pair in pairs}
    return Material(
        name="table2",
        datasets=list(datasets),
        methods=list(methods),
        results={
            (d, m): made_results.of(
                m,
                [ACCURACIES[m] + shift for shift in (0.0, 0.01, 0.03)],
                d,
                source=source,
                modalities=own[d, m],
                **({"start_epoch": 0 if m == "aim-e0" else 3} if m.startswith("aim") else {}),
            )
            for d, m in pairs
        },
        curves={
            (d, m): Curves([made_results.curves(seed, m.startswith("aim"), own[d, m]) for seed in range(3)])
            for d, m in pairs
        },
        refused=[f"{m} is not for {d}" for d, m in without],
        fits={
            (d, m): [made_results.log(seed, 4, MODALITIES[d])["log"] for seed in range(3)]
            for d, m in pairs
            if m.startswith("aim")
        },
    )


def words(figure: Figure) -> str:
    return " | ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


@pytest.fixture(autouse=True)
def styled():
    with style():
        yield


def test_every_table_says_how_many_samples_and_what_they_warn_of():
    for module in (accuracy, leaderboard, unimodal):
        lines = module.document(material()).lines
        assert "Samples, train / validation / test: cremad 12 / 3 / 200; ks 12 / 3 / 200." in lines
        assert any(line.startswith("Warning: cremad: validation has 6 samples (under 30)") for line in lines)


def test_the_papers_numbers_stand_in_columns_of_their_own():
    heads, rows = accuracy.document(material()).tables[0][1]
    assert heads[:5] == [
        "method",
        "CREMA-D (generated sample) accuracy",
        "CREMA-D (generated sample) macro-F1",
        "CREMA-D accuracy, printed",
        "CREMA-D macro-F1, printed",
    ]
    by_method = {row[0]: row[1:] for row in rows}
    assert by_method["AIM"][0].startswith("71.3 ± 1.5") and by_method["AIM"][2:4] == ["81.32", "82.00"]
    assert by_method["AIM, E = 0 %"][2:4] == ["–", "–"]


def test_what_is_measured_is_named_a_sample_only_where_it_is_one():
    for source, said in (("sample", True), ("local", False)):
        for draw in TABLES.values():
            for ending, text in draw(material(source=source)).formats().items():
                assert ("generated sample" in text) == said, ending
        for name, draw in FIGURES.items():
            assert ("generated sample" in words(draw(material(source=source)))) == said, name


def test_a_pair_that_a_dataset_refuses_is_said_and_left_empty():
    document = accuracy.document(material(without=[("ks", "ogm-ge")]))
    heads, rows = document.tables[0][1]
    place = heads.index("Kinetics-Sounds (generated sample) accuracy")
    assert {row[0]: row[place] for row in rows}["OGM-GE"] == "–"
    assert "Left out: ogm-ge is not for ks." in document.lines


def test_marks_are_explained_for_the_baselines_that_are_there():
    lines = "\n".join(accuracy.document(material()).lines)
    assert "† differs from Joint:" in lines and "‡" not in lines
    alone = "\n".join(accuracy.document(material(methods=("ogm-ge", "aim"))).lines)
    assert "†" not in alone


def test_numbers_of_the_csv_are_unrounded_and_apart():
    text = accuracy.document(material()).formats()[".csv"]
    row = next(
        row for row in csv.DictReader(io.StringIO(text)) if row["method"] == "aim" and row["dataset"] == "cremad"
    )
    assert float(row["accuracy"]) == np.mean([0.7, 0.71, 0.73]) and row["printed_accuracy_aim"] == "0.8132"
    assert row["accuracy_per_seed"] == "0.7 0.71 0.73"
    modality = next(csv.DictReader(io.StringIO(unimodal.document(material()).formats()[".csv"])))
    assert modality["method"] == "audio" and modality["printed_aim"] == "0.6317"


def test_each_modality_has_its_own_readout_and_the_probe():
    name, (heads, rows) = unimodal.document(material()).tables[0]
    assert name == "CREMA-D (generated sample)"
    assert heads[:4] == ["method", "audio (own)", "audio (probe)", "audio, printed (CREMA-D)"]
    assert {row[0]: row[4] for row in rows}["Audio only"] == "–"  # it has no second modality


def test_a_regression_has_no_printed_numbers_beside_it():
    found = made_results.regression("joint", [0.9, 1.0], "mosi", modalities=MODALITIES["mosi"])
    alone = Material("table4", ["mosi"], ["joint"], {("mosi", "joint"): found}, {})
    assert alone.printed("mosi", "joint") is None


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_names_what_it_compares(name):
    shown = material(datasets=("cremad", "ks", "mosi"), source="local")
    said = words(FIGURES[name](shown))
    assert "CREMA-D" in said and "CMU-MOSI" in said and "AIM" in said and "seeds 0, 1, 2" in said


def test_equal_input_gives_equal_bytes(tmp_path: Path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        with style():
            for ending in ("pdf", "svg", "png"):
                write(curves.draw_convergence(material()), tmp_path / folder / f"figure8.{ending}")
    for ending in ("pdf", "svg", "png"):
        assert (tmp_path / "one" / f"figure8.{ending}").read_bytes() == (
            tmp_path / "two" / f"figure8.{ending}"
        ).read_bytes(), ending


def test_start_epochs_are_drawn_in_order_whatever_the_study_says():
    axes = points.draw_start_epochs(material(datasets=("cremad",), methods=("joint", "aim", "aim-e0"))).axes[0]
    line = axes.lines[0]
    assert list(line.get_xdata()) == [0, 3] and list(line.get_ydata()) == pytest.approx([56.33, 71.33], abs=0.01)


def test_costs_have_units():
    assert [curves.amount(x) for x in (40.5, 2.5e7, 3.21e9)] == ["40.5 FLOP", "25 MFLOP", "3.21 GFLOP"]


def test_the_leaderboard_is_in_the_order_of_ranks_and_lists_the_unranked_last():
    document = leaderboard.document(material(without=[("ks", "aim")]))
    heads, rows = document.tables[0][1]
    assert heads == ["method", "rank", "CREMA-D (generated sample)", "Kinetics-Sounds (generated sample)", "FLOPs"]
    assert [row[:2] for row in rows] == [
        ["OGM-GE", "1.0"],
        ["Joint", "2.0"],
        ["AIM, E = 0 %", "3.0"],
        ["Audio only", "4.0"],
        ["AIM", "–"],
    ]
    assert rows[-1][2].startswith("71.3") and rows[-1][3] == "–" and rows[0][4] == "1.35"
    assert "Left out: aim is not for ks." in document.lines


def test_ranks_and_the_critical_difference_by_hand():
    assert list(ranks.mean_ranks([[0.9, 0.8, 0.8], [0.5, 0.7, 0.6]])) == [2.0, 1.75, 2.25]
    # Demsar (2006), table 5: q 0.05 of 5 methods is 2.728; here on 10 datasets.
    assert ranks.critical_difference(5, 10) == pytest.approx(2.728 * (5 * 6 / 60) ** 0.5, abs=1e-3)
    assert ranks.cliques([1.0, 1.4, 2.0, 3.9], 1.2) == [(0, 2)]
    assert ranks.cliques([1.0, 2.0, 2.9], 1.5) == [(0, 1), (1, 2)]
    assert ranks.cliques([1.0, 4.0], 1.5) == []


def test_ranks_are_of_methods_that_every_dataset_has():
    said = words(ranks.draw(material(without=[("ks", "ogm-ge")])))
    assert "OGM-GE" not in said and "Joint" in said and "over 2 datasets" in said
    assert "Fewer than two methods" in words(ranks.draw(material(methods=("aim",))))


def test_every_method_of_the_paper_has_a_name_of_its_own():
    assert len(set(METHODS.values())) == len(METHODS)
    assert method_name("aim-no-pam") == "AIM w/o PAM" and method_name("mine") == "mine"


def has_tex() -> bool:
    """pdflatex and booktabs (Debian: texlive-latex-recommended)."""
    if shutil.which("pdflatex") is None:
        return False
    return subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_tex(), reason="no TeX here")
@pytest.mark.parametrize("show", TABLES)
def test_the_latex_compiles(tmp_path: Path, show: str):
    table = TABLES[show](material(without=[("ks", "ogm-ge")]))
    body = latex(table.title, table.tables, table.lines)
    text = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + body + "\\end{document}\n"
    (tmp_path / "t.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
