"""What the engines refuse: each with one line, a status that is not 0, and nothing lost."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine_project import Project, copy_project
from equimodal.engines import locks


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(root, tmp_path_factory.mktemp("copy") / "project")


def own_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that is ours; no traceback, and nothing had been planned."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_an_unknown_target_stops_snakemake_before_it_plans(project: Project) -> None:
    done = project.run("snakemake", "--cores", "4", "results/cremad_aimm.json", check=False)
    expected = "error: unknown method 'aimm' in results/cremad_aimm.json; params.yaml has: agm, aim, "
    assert own_line(done).startswith(expected)
    assert (
        len([line for line in done.stderr.splitlines() if not line.startswith("Using workflow specific profile")]) == 1
    )
    assert project.ran() == []


def test_a_mistake_in_params_stops_both_engines(project: Project) -> None:
    project.edit("params.yaml", "  eval_batch_size: 256", "  eval_batch_sise: 256")
    try:
        said = "error: params.yaml: unknown key training.eval_batch_sise; did you mean 'eval_batch_size'?"
        assert own_line(project.run("snakemake", "-n", check=False)) == said
        assert own_line(project.run("dvc", "repro", check=False)) == said
    finally:
        project.edit("params.yaml", "  eval_batch_sise: 256", "  eval_batch_size: 256")
    assert project.ran() == []


@pytest.fixture
def in_project(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(project.root)
    yield


def test_snakemake_waits_for_dvc(project: Project, in_project: None) -> None:
    with locks.engine("dvc"):
        done = project.run("snakemake", "--cores", "1", "results/cremad_joint.json", check=False)
        assert re.search(r"dvc is at work in this folder \(process \d+\), snakemake must wait", own_line(done))
        assert "planned" not in done.stdout
        project.run("snakemake", "-n", "results/cremad_joint.json")  # looking is allowed
    assert project.ran() == []
    project.run("snakemake", "--cores", "1", "--", "data/cremad/index.json")  # and no lock is left behind
    assert project.ran() == ["index cremad", "raw cremad"]


def test_dvc_waits_for_snakemake(project: Project, in_project: None) -> None:
    with locks.engine("snakemake"):
        done = project.run("dvc", "repro", "plan", check=False)
    assert re.search(r"snakemake is at work in this folder \(process \d+\), dvc must wait", own_line(done))


def test_a_failed_stage_shows_its_line_and_a_killed_one_is_run_again(project: Project) -> None:
    stub = project.root / "src/equimodal/stages/raw.py"
    text = stub.read_text()
    stub.write_text(
        text
        + (
            "\n\ndef run(params, dataset):\n    from equimodal.errors import UserError\n    raise UserError('no"
            " raw files: see docs')\n"
        )
    )
    try:
        done = project.run("snakemake", "--cores", "1", "-F", "--", "data/cremad/index.json", check=False)
        assert done.returncode != 0
        said = done.stderr.strip().splitlines()
        assert said[-1] == "error: no raw files: see docs (logs/raw/cremad.log)"
        assert len([line for line in said if "no raw files" in line]) == 1, "last and once"
    finally:
        stub.write_text(text)
    project.run("snakemake", "--cores", "1", "--", "data/cremad/index.json")
    assert "raw cremad" in project.ran()
