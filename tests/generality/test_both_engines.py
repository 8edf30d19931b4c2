"""Snakemake and DVC make the same bytes of every dataset's study, and neither has anything to do when run again."""

from pathlib import Path

import pytest
import yaml

from engine_project import Project, copy_project
from equimodal.store import file_sha256
from sample_study import small_params

ROOT = Path(__file__).resolve().parents[2]
MADE = ("data", "models", "results")


def project_in(folder: Path) -> Project:
    """The project itself, its study small."""
    project = copy_project(ROOT, folder / "project", stubs=False)
    (project.root / "params.yaml").write_text(yaml.safe_dump(small_params(ROOT), sort_keys=False))
    return project


def digests(project: Project, *left_out: str) -> dict[str, str]:
    """Every file the engine made: path -> sha256."""
    files = (path for folder in MADE for path in sorted((project.root / folder).rglob("*")) if path.is_file())
    names = {path.relative_to(project.root).as_posix(): path for path in files if not path.name.startswith(".")}
    return {name: file_sha256(path) for name, path in names.items() if not name.startswith(left_out)}


@pytest.mark.slow
def test_both_engines_make_the_same_files(tmp_path: Path) -> None:
    by_snakemake, by_dvc = project_in(tmp_path / "snakemake"), project_in(tmp_path / "dvc")
    by_snakemake.run("snakemake", "--cores", "2", timeout=1800)
    by_dvc.run("dvc", "repro", "-q", timeout=1800)
    # A dataset's own table is Snakemake's, plans are DVC's; costs are times of this machine.
    own = [f"results/tables/{dataset}." for dataset in small_params(ROOT)["study"]["datasets"]]
    made, again = (
        digests(project, "data/plan/", "results/cost/", "results/tables/cost.", *own)
        for project in (by_snakemake, by_dvc)
    )
    assert "results/tables/comparison.csv" in made
    assert made.keys() == again.keys()
    assert not [name for name in made if made[name] != again[name]]
    assert by_snakemake.planned() == []
    assert by_dvc.run("dvc", "status", "-q", check=False).returncode == 0
