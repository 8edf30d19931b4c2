"""The line that stands for a stage's code in Snakemake: another one when a file that it runs was edited, else not."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from equimodal.engines import closure, declarations
from equimodal.params import Params, load_params

EDITS = {
    "methods/ogm/method.py": {f"{stage} ogm-ge" for stage in ("train", "tune", "evaluate", "operations", "cost")},
    "methods/aim/modulation.py": {
        f"{stage} {method}"
        for stage in ("train", "tune", "evaluate", "operations", "cost")
        for method in ("aim", "aim-no-pam")
    },
    "methods/aim/settings.py": set(),  # its values are compared beside the code
    "tracking/runs.py": set(),
    "stages/features.py": {"features"},
    "stages/index.py": {"index"},
    "datasets/cremad/sample.py": {"raw", "index"},
    "datasets/ks/sample.py": set(),
    "report/published.yaml": {"tables", "paper"},
}


@pytest.fixture(scope="module")
def params(root: Path) -> Params:
    return load_params(root / "params.yaml")


@pytest.fixture
def copy(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, which the closure reads instead of ours."""
    shutil.copytree(root / "src/equimodal", tmp_path / "equimodal", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(closure, "SOURCE", tmp_path)
    return tmp_path / "equimodal"


def texts(params: Params) -> dict[str, str]:
    """Line of every job of the cremad study, `stage` or `stage method`."""
    stages = (*declarations.STAGES, "tune", "overview", "tables")
    jobs = [(stage, method) for stage in stages for method in declarations.study_methods(params, stage)]
    found = {" ".join(filter(None, job)): declarations.code_text(params, job[0], "cremad", job[1]) for job in jobs}
    return {**found, "paper": declarations.code_text(params, "paper")}


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_changes_the_line_of_exactly_the_jobs_that_run_the_file(
    copy: Path, params: Params, look_anew: Callable[[], None], file: str
) -> None:
    before = texts(params)
    with open(copy / file, "a", encoding="utf-8") as edited:
        edited.write("\n# edited\n")
    assert texts(params) == before, "one process reads a file once"
    look_anew()
    after = texts(params)
    assert {job for job in before if before[job] != after[job]} == EDITS[file]


def test_the_line_is_the_same_in_another_process_and_folder(root: Path, params: Params, tmp_path: Path) -> None:
    line = declarations.code_text(params, "train", "cremad", "aim")
    code = (
        "from equimodal.engines.declarations import code_text; from equimodal.params import load_params\n"
        f"print(code_text(load_params({str(root / 'params.yaml')!r}), 'train', 'cremad', 'aim'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == line + "\n" and line.startswith("code ") and len(line.split()) == 2
