"""Snakemake's report of a study of which a part is built. One project, used from top to bottom."""

import re
import zipfile
from pathlib import Path

import pytest

from engine_project import Project

BUILT = ["results/cremad_aim.json", "results/cremad_joint.json"]  # what `make demo` builds
MEMBERS = 7 + 7 + 4 + 1  # of the small study: results, figures, tables, and what it draws of `studies`


def said(done) -> list[str]:
    """Our line on stderr."""
    return [line for line in done.stderr.splitlines() if line.startswith(("report: ", "error: "))]


@pytest.fixture(scope="module")
def demo(project: Project) -> Project:
    project.run("snakemake", "--cores", "4", "--", *BUILT)
    return project


def test_a_report_of_nothing_is_refused_in_one_line(project: Project, tmp_path: Path) -> None:
    done = project.run("snakemake", "--report", str(tmp_path / "report.html"), check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    (line,) = said(done)
    assert line.startswith(f"error: none of the study's {MEMBERS} results, figures and tables has been built")
    assert not (tmp_path / "report.html").exists()


def test_the_report_after_the_demo_shows_what_exists_and_counts_the_rest(demo: Project, tmp_path: Path) -> None:
    done = demo.run("snakemake", "--report", str(tmp_path / "report.html"))
    assert said(done) == [
        f"report: 2 of the study's {MEMBERS} results, figures and tables; the other {MEMBERS - 2} are not built and"
        " left out (snakemake --cores 4 builds them)"
    ]
    text = (tmp_path / "report.html").read_text()
    assert all(Path(path).name in text for path in BUILT) and "cremad_ogm-ge.json" not in text
    assert "prototypes" in text, "the records of the stages before a result are in the report"
    assert "Missing metadata" not in done.stderr


def test_the_same_as_a_zip_and_with_the_option_written_in_one_word(demo: Project, tmp_path: Path) -> None:
    done = demo.run("snakemake", f"--report={tmp_path / 'report.zip'}", "--", "study")
    assert re.match(r"report: 2 of ", said(done)[0])
    names = zipfile.ZipFile(tmp_path / "report.zip").namelist()
    assert [name for name in names if name.endswith("cremad_joint.json")]


def test_a_member_whose_results_are_gone_is_left_out(demo: Project, tmp_path: Path) -> None:
    table = demo.root / "results/tables/comparison.html"
    table.parent.mkdir()
    table.write_text("drawn once, from results of which some are gone")
    try:
        assert said(demo.run("snakemake", "--report", str(tmp_path / "report.zip")))[0].startswith("report: 2 of ")
    finally:
        table.unlink()


def test_named_targets_are_reported_alone(demo: Project, tmp_path: Path) -> None:
    done = demo.run("snakemake", "--report", str(tmp_path / "report.zip"), "--", BUILT[0])
    assert said(done) == []
    names = zipfile.ZipFile(tmp_path / "report.zip").namelist()
    assert [name for name in names if "cremad_" in name] == [name for name in names if "cremad_aim.json" in name] != []


def test_building_still_builds_the_whole_study(demo: Project) -> None:
    planned = demo.planned()
    assert {"summary cremad ogm-ge", "figures cremad joint", "tables comparison"} <= set(planned)
