"""Stage tables: the study's, or those of any files."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import made_results
import tiny_dataset
from equimodal.cli import app
from equimodal.errors import UserError
from equimodal.stages import tables
from equimodal.store import read_json, write_json

STUDY = {"datasets": ["tiny"], "from-scratch": ["joint"], "from-warmup": ["aim"]}


@pytest.fixture
def params(tmp_path, monkeypatch):
    """A study of two methods with results and costs in the current folder."""
    monkeypatch.chdir(tmp_path)
    for method in ("joint", "aim"):
        found = made_results.of(method, [0.6, 0.7], dataset="tiny")
        found = found.model_copy(update={"settings": {**found.settings, "training": {"batch_size": 8}}})
        write_json(tmp_path / f"results/tiny_{method}.json", found.model_dump(mode="json"))
        write_json(
            tmp_path / f"results/cost/tiny_{method}.json",
            made_results.cost(method, "tiny", ratio=2.0).model_dump(mode="json"),
        )
    return tiny_dataset.write_params(tmp_path, study=STUDY)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_a_table_in_four_formats_the_same_bytes_again(params, tmp_path):
    tables.run(params)
    first = contents("results/tables")
    assert set(first) == {
        f"{table}.{ending}" for table in ("comparison", "modalities", "cost") for ending in ("md", "csv", "tex", "html")
    }
    assert b"2.00 [1.90, 2.10]" in first["cost.md"]
    tables.run(params)
    assert contents("results/tables") == first


def test_comparison_needs_no_costs_and_cost_says_what_is_missing(params):
    shutil.rmtree("results/cost")
    tables.run(params, "comparison")
    assert set(contents("results/tables")) == {f"comparison.{ending}" for ending in ("md", "csv", "tex", "html")}
    with pytest.raises(
        UserError,
        match=r"results/cost/tiny_joint\.json is missing: build it first \(snakemake --cores 4 --"
        r" results/cost/tiny_joint\.json\)",
    ):
        tables.run(params, "cost")


def test_a_missing_result_of_the_study_is_named_and_nothing_is_built(params):
    Path("results/tiny_aim.json").unlink()
    with pytest.raises(UserError, match=r"results/tiny_aim\.json is missing: build it first"):
        tables.run(params, "comparison")
    assert not Path("models").exists() and not Path("results/tables").exists()


def test_any_files_told_apart_by_what_they_hold(params):
    files = sorted(Path("results").rglob("tiny_*.json"))
    app(["tables", *map(str, files), "--out", "elsewhere"], standalone_mode=False)
    tables.run(params)
    assert contents("elsewhere").keys() == contents("results/tables").keys()
    app(["tables", "results/tiny_joint.json", "--table", "comparison", "--out", "one"], standalone_mode=False)
    assert b"tiny accuracy" in contents("one")["comparison.md"] and b"aim" not in contents("one")["comparison.md"]


def test_some_rows_of_any_files(params):
    files = sorted(map(str, Path("results").rglob("tiny_*.json")))
    app(["tables", *files, "--methods", "aim", "--out", "one"], standalone_mode=False)
    text = contents("one")["comparison.md"].decode()
    assert "\n| aim " in text and "\n| joint " not in text and "tiny minus joint" in text
    with pytest.raises(UserError, match="no file of method ami; there are: joint, aim"):
        app(["tables", "--methods", "ami", "--out", "one"], standalone_mode=False)


def test_given_files_are_not_drawn_over_the_study_s_tables(params):
    for words in (["results/tiny_joint.json"], ["--methods", "aim"]):
        with pytest.raises(UserError, match="need --out"):
            app(["tables", *words], standalone_mode=False)


def test_another_file_is_one_line(params):
    write_json(Path("other.json"), {"a": 1})
    with pytest.raises(UserError, match=r"other\.json is neither a result"):
        tables.run(params, files=[Path("other.json")], out=Path("x"))


def test_pandas_is_not_imported_before_a_table_is_written():
    code = "import sys, equimodal.stages.show, equimodal.stages.tables, equimodal.stages.overview as _; "
    subprocess.run([sys.executable, "-c", code + "sys.exit('pandas' in sys.modules)"], check=True)


def test_files_from_before_optional_fields_are_read(params):
    path = Path("results/tiny_joint.json")
    content = read_json(path)
    for added in ("protocol",):
        del content[added]
    write_json(path, content)
    tables.run(params)
    assert "protocol custom" in Path("results/tables/comparison.md").read_text()
