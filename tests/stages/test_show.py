"""What a person sees."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import made_results
import tiny_dataset
from equimodal.errors import UserError
from equimodal.stages import show
from equimodal.store import write_json


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Print results of the current folder, as a terminal of some width or as a pipe."""
    monkeypatch.chdir(tmp_path)

    def text(*methods, dataset="made", terminal=False, width=80, **overrides):
        out = StringIO()
        console = Console(file=out, force_terminal=terminal, width=width, highlight=False)
        paths = [Path(f"results/{dataset}_{method}.json") for method in methods]
        show.run(tiny_dataset.params(**overrides), paths, console)
        return out.getvalue()

    return text


def test_a_row_a_result_and_readouts_named(shown, tmp_path):
    for method in ("joint", "aim"):
        made_results.write(tmp_path, method)
    lines = shown("aim", "joint").splitlines()
    assert lines[0].split("  ")[0] == "result" and "visual (split)" in lines[0] and "audio (probe)" in lines[0]
    assert lines[1].startswith("made_aim") and lines[2].startswith("made_joint")
    assert "±" in lines[1]
    assert len({len(line) for line in lines[:3]}) == 1  # columns line up, and nothing is folded at 80 columns


def test_generated_samples_are_called_so(shown, tmp_path):
    made_results.write(tmp_path)
    assert "generated samples. These numbers show that the chain works; they are no result." in shown("joint")
    made_results.write(tmp_path, source="local")
    assert "generated" not in shown("joint")


def test_numbers_of_few_clips_are_shown_with_how_few(shown, tmp_path):
    made_results.write(tmp_path)
    text = shown("joint")
    assert "Samples, train / validation / test: made 12 / 3 / 6." in text
    assert "Warning: made: validation has 6 samples (under 30): chance alone moves an accuracy on it by ±40" in text


def write(root, method, dataset):
    found = made_results.of(method, [0.6], dataset=dataset)
    write_json(root / f"results/{dataset}_{method}.json", found.model_dump(mode="json"))


def test_where_to_look_next(shown, tmp_path):
    write(tmp_path, "joint", "tiny")
    assert "snakemake --cores 4 -- results/figures/tiny_joint" in shown("joint", dataset="tiny")
    (tmp_path / "results/figures/tiny_joint").mkdir(parents=True)
    text = shown("joint", dataset="tiny", tracking={"enabled": True, "uri": "sqlite:///mlflow.db"})
    assert "results/figures/tiny_joint/" in text and "snakemake --cores 4" not in text
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in text
    assert "mlflow ui" not in shown("joint", dataset="tiny")


def test_the_report_is_of_the_study_or_of_results_beside_it(shown, tmp_path):
    write(tmp_path, "joint", "tiny")
    write(tmp_path, "aim", "tiny")
    study = {"datasets": ["tiny"], "from-scratch": ["joint"], "from-warmup": []}
    assert shown("joint", dataset="tiny", study=study).splitlines()[-1] == "  report   snakemake --report report.html"
    # A report of the study would leave out what is not of it.
    assert shown("joint", "aim", dataset="tiny", study=study).splitlines()[-1] == (
        "  report   snakemake --report report.html -- results/tiny_joint.json results/tiny_aim.json"
    )


def test_no_command_is_named_that_would_be_refused(shown, tmp_path):
    write(tmp_path, "joint", "gone")  # no dataset of params.yaml
    assert "Next:" not in shown("joint", dataset="gone") and "snakemake" not in shown("joint", dataset="gone")


def test_no_escape_codes_in_a_pipe(shown, tmp_path):
    made_results.write(tmp_path)
    assert "\x1b" not in shown("joint")
    assert "\x1b" in shown("joint", terminal=True, width=100)


def test_terminal_table_fits_its_width(shown, tmp_path):
    made_results.write(tmp_path)
    table = shown("joint", terminal=True, width=100).split("\n\n")[0]
    assert "made_joint" in table


def test_missing_result_says_how_to_build_it(shown):
    with pytest.raises(UserError, match=r"results/made_joint\.json is missing: build it first"):
        shown("joint")
