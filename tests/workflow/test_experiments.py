"""DVC's experiments: `-S` changes what it names and nothing else; runs in a copy of the project are refused."""

import subprocess
from pathlib import Path

import pytest
import yaml

from engine_project import SCRATCH_STUDY, Project, copy_project
from equimodal.engines.experiments import refuse_copy
from equimodal.errors import UserError
from equimodal.params import load_params
from equimodal.store import read_json

STUDY = SCRATCH_STUDY.format(datasets="grid-words, grid-words-clean", methods="joint")


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The study of a dataset and its variant, planned and committed."""
    made = copy_project(root, tmp_path_factory.mktemp("copy") / "project", STUDY)
    made.dvc("repro", "-q", "plan")
    for words in (["add", "-A"], ["-c", "user.name=n", "-c", "user.email=e@e", "commit", "-qm", "built"]):
        subprocess.run(["git", *words], cwd=made.root, check=True, env=made.environment)
    return made


@pytest.fixture(autouse=True)
def params_as_committed(project: Project) -> None:
    subprocess.run(
        ["git", "checkout", "-q", "params.yaml", "dvc.lock"], cwd=project.root, check=True, env=project.environment
    )


SHORTER = ("-S", "datasets.grid-words-clean.training.epochs=3")


def test_a_variant_s_setting_leaves_its_base_alone(project: Project) -> None:
    plans = {name: project.root / f"data/plan/train-{name}-joint.json" for name in ("grid-words", "grid-words-clean")}
    before = {name: path.read_bytes() for name, path in plans.items()}
    project.run("dvc", "exp", "run", *SHORTER, "plan")
    assert [name for name, path in plans.items() if path.read_bytes() != before[name]] == ["grid-words-clean"]
    params = load_params(project.root / "params.yaml")
    assert [params.training_of(name).epochs for name in ("grid-words", "grid-words-clean", "grid-digit")] == [12, 3, 36]


@pytest.mark.slow  # what a stage's plan decides is tested quickly in test_reruns.py
def test_a_variant_s_setting_trains_the_variant_alone(project: Project) -> None:
    project.dvc("repro", "-q", "train-from-scratch")
    project.ran()
    project.run("dvc", "exp", "run", *SHORTER, "train-from-scratch")
    assert [job for job in project.ran() if job.startswith("train")] == ["train grid-words-clean joint 0"]


@pytest.mark.slow
def test_a_key_that_only_the_base_has_is_set_with_two_pluses(project: Project) -> None:
    before = load_params(project.root / "params.yaml")
    sets = ["++datasets.grid-words-clean.training.batch_size=32", "++methods.aim-no-pam.lambda_mod=3"]
    project.run("dvc", "exp", "run", *(word for key in sets for word in ("-S", key)), "plan")
    after = load_params(project.root / "params.yaml")
    for dataset in before.datasets:
        changed = {"batch_size": 32} if dataset == "grid-words-clean" else {}
        assert after.dataset(dataset).slice() | {"training": {}} == before.dataset(dataset).slice() | {"training": {}}
        assert after.training_of(dataset).slice() == before.training_of(dataset).slice() | changed
        for method in before.methods:
            own = {"lambda_mod": 3.0} if method == "aim-no-pam" else {}
            assert (
                after.method(dataset, method).settings.slice() == before.method(dataset, method).settings.slice() | own
            )
    assert (
        read_json(project.root / "data/plan/train-grid-words-clean-joint.json")["settings"]["training"]["batch_size"]
        == 32
    )


@pytest.mark.slow
@pytest.mark.parametrize("where", ["--temp", "--queue"])
def test_a_run_in_a_copy_of_the_project_is_refused_with_its_reason(project: Project, where: str) -> None:
    words = ("-S", "datasets.grid-words.training.epochs=5", "-n", "tried")
    done = project.run("dvc", "exp", "run", where, *words, "plan", check=where == "--queue")
    said = done.stdout + done.stderr
    if where == "--queue":
        # In this process, as the worker of `dvc queue start` runs them; that one goes on in the background.
        said = project.run("dvc", "exp", "run", "--run-all", check=False).stderr
        said += project.run("dvc", "queue", "logs", "tried").stdout
    assert "error: dvc exp run --temp and --queue are not supported: " in said
    assert project.ran() == []
    assert (
        yaml.safe_load((project.root / "params.yaml").read_text())["datasets"]["grid-words"]["training"]["epochs"] == 12
    )


def test_only_folders_of_experiments_are_refused(tmp_path: Path) -> None:
    refuse_copy(tmp_path / "exps/tmp")
    with pytest.raises(UserError, match=r"one experiment after another \(docs/workflow.md\)"):
        refuse_copy(tmp_path / ".dvc/tmp/exps/tmpx/")
