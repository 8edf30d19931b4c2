"""What a person sees."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import made_results
import tiny_dataset
from equimodal.errors import UserError
from equimodal.stages import show


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Print results of the current folder, as a terminal of some width or as a pipe."""
    monkeypatch.chdir(tmp_path)

    def text(*methods, terminal=False, width=80, **overrides):
        out = StringIO()
        console = Console(file=out, force_terminal=terminal, width=width, highlight=False)
        show.run(tiny_dataset.params(**overrides), [Path(f"results/made_{method}.json") for method in methods], console)
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


def test_where_to_look_next(shown, tmp_path):
    made_results.write(tmp_path)
    assert "snakemake --cores 4 -- results/figures/made_joint" in shown("joint")
    (tmp_path / "results/figures/made_joint").mkdir(parents=True)
    text = shown("joint", tracking={"enabled": True, "uri": "sqlite:///mlflow.db"})
    assert "results/figures/made_joint/" in text and "snakemake --cores 4" not in text
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in text
    assert "snakemake --report" in text
    assert "mlflow ui" not in shown("joint")


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
