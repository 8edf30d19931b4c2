"""A folder that `equimodal init` made, with the package installed elsewhere and no checkout: both engines work there,
and follow an upgrade. Stub stages; used from top to bottom.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

from engine_project import SCRATCH_STUDY, Project, environment, install, small_study

STUDY = SCRATCH_STUDY.format(datasets="cremad", methods="joint, ogm-ge")
RESULT = "results/cremad_joint.json"
JOINT = [
    "evaluate cremad joint 0",
    "features cremad audio",
    "features cremad visual",
    "index cremad",
    "manifest cremad",
    "operations cremad joint",
    "raw cremad",
    "summary cremad joint",
    "train cremad joint 0",
    "weights cremad",
]


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment where the package is installed."""
    folder = tmp_path_factory.mktemp("site")
    install(root, folder)
    return folder


@pytest.fixture(scope="module")
def workspace(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    home = tmp_path_factory.mktemp("home")
    work = Project(home / "work", environment(site, home))
    done = subprocess.run(
        ["equimodal", "init", "work"], cwd=home, env=work.environment, capture_output=True, text=True, check=True
    )
    assert "cd work; snakemake --cores 2 results/cremad_joint.json" in done.stdout
    (work.root / "params.yaml").write_text(small_study((work.root / "params.yaml").read_text(), STUDY))
    return work


def upgrade(site: Path, file: str) -> None:
    with open(site / "equimodal" / file, "a", encoding="utf-8") as code:
        code.write("\n# another version\n")


def test_the_graph_is_that_of_the_installed_package(root: Path, site: Path, workspace: Project) -> None:
    done = workspace.run("snakemake", "-n", "-p", "--", RESULT)
    assert "Using workflow specific profile profiles/default" in done.stderr
    # Snakemake itself may be that of the checkout's environment
    assert str(root) not in (done.stdout + done.stderr).replace(str(root / ".venv"), "")
    assert len(re.findall(r"^Shell command: equimodal ", done.stdout, re.MULTILINE)) == len(JOINT)
    first = (workspace.root / "params.yaml").read_text().splitlines()[0]
    schema = Path(first.removeprefix("# yaml-language-server: $schema=file://"))
    assert schema.is_relative_to(site) and "study" in json.loads(schema.read_text())["properties"]


def test_explain_reads_its_params_and_elsewhere_it_says_how_to_make_a_folder(workspace: Project) -> None:
    assert "now      15" in workspace.run("equimodal", "explain", "datasets.cremad.training.epochs").stdout
    away = Project(workspace.root.parent, workspace.environment)
    said = away.run("equimodal", "explain", check=False).stderr
    assert said.startswith("error: params.yaml not found: run in the project's root folder")
    assert said.endswith("or make one: equimodal init FOLDER\n")


def test_the_default_profile_s_settings_hold(site: Path, workspace: Project) -> None:
    stage = site / "equimodal/stages/raw.py"
    text = stage.read_text()
    broken = (
        "from equimodal.errors import UserError\n\ndef run(params, dataset):\n    raise UserError('no raw files')\n"
    )
    stage.write_text(f"{text}\n\n{broken}")
    done = workspace.run("snakemake", "--cores", "1", "--", "data/cremad/index.json", check=False)
    stage.write_text(text)
    assert done.returncode != 0 and "no raw files" in done.stderr.strip().splitlines()[-1]


def test_snakemake_builds_there_and_an_upgrade_reruns_what_it_changes(site: Path, workspace: Project) -> None:
    workspace.run("snakemake", "--cores", "2", "--", RESULT, "results/cremad_ogm-ge.json")
    assert workspace.planned(RESULT) == []
    upgrade(site, "methods/ogm/method.py")
    assert workspace.planned(RESULT) == []
    assert "train cremad ogm-ge 0" in workspace.planned("results/cremad_ogm-ge.json")
    rules = site / "equimodal/project/workflow/rules/evaluate.smk"
    text = rules.read_text()
    rules.write_text(text.replace("equimodal summary ", "equimodal  summary "))
    assert workspace.planned(RESULT) == ["summary cremad joint"], "its rules are followed too"
    rules.write_text(text)


@pytest.mark.slow
def test_its_report_has_the_captions(workspace: Project) -> None:
    workspace.run("snakemake", "--cores", "2", "--", RESULT)
    workspace.run("snakemake", "--report", "report.html", "--", RESULT)
    text = (workspace.root / "report.html").read_text()
    assert "Balanced multimodal learning" in text and "mean, standard deviation and 95 % interval" in text


@pytest.mark.slow
def test_dvc_runs_plan_alone_when_nothing_changed_and_an_upgrade_reruns_what_it_changes(
    site: Path, workspace: Project
) -> None:
    workspace.dvc("repro", "-q")
    workspace.ran()
    said = workspace.run("dvc", "repro").stdout
    assert re.findall(r"^Running stage '(.*)'", said, re.MULTILINE) == ["plan"] and workspace.ran() == []
    upgrade(site, "methods/ogm/method.py")
    workspace.dvc("repro", "-q")
    assert workspace.ran() == [
        "cost cremad ogm-ge",
        "evaluate cremad ogm-ge 0",
        "operations cremad ogm-ge",
        "train cremad ogm-ge 0",
    ]
    workspace.run("equimodal", "plan")
    workspace.dvc("commit", "-f", "-q")
    assert "always changed" in workspace.run("dvc", "status").stdout
