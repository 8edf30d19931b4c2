"""What an edit reruns, in both engines, and what it does not. One project, used from top to bottom."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from engine_project import Project, copy_project

# All that the tests look at: two families, a variant and its base, a method that shares nothing.
STUDY = """
study:
  datasets: [cremad]
  from-scratch: [joint, ogm-ge]
  from-warmup: [aim, aim-no-pam]
  from-unimodal: []
  unimodal: []
  warmups: [aim]
  fits: [aim]
  seeds: [0]
  tables: [table3]
  figures: []
"""


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A fresh copy with a study that is as small as it can be."""
    return copy_project(root, tmp_path_factory.mktemp("copy") / "project", STUDY)


@pytest.fixture(scope="module")
def built(project: Project) -> Project:
    """The study built by Snakemake and recorded by DVC."""
    said = recorded(project)
    assert re.search(
        r"^jobs: 0 of \d+ are done, \d+ to run; how long they take is told once some have run here$", said, re.M
    )
    assert len(project.ran()) == 6 + 2 + 6 * 4 + 1 + 1 + 3 + 1, (
        "preprocessing, warm-up and prototypes, six stages per method, what costs refer to, one table per dataset,"
        " three of the study, one of `studies`"
    )
    return project


def recorded(project: Project) -> str:
    """Build the study by Snakemake and let DVC record it: the bridge `equimodal plan && dvc commit -f`; what Snakemake
    said.
    """
    said = project.run("snakemake", "--cores", "4").stderr
    project.run("equimodal", "plan")
    project.dvc("commit", "-f", "-q")
    return said


# the cost table's rule has a name of its own
TABLES = [
    "cost_table cost",
    "overview cremad",
    "tables comparison",
    "tables cost",
    "tables modalities",
]
PAPER = ["paper table3", "paper_table table3"]  # DVC's, Snakemake's


def reruns(project: Project) -> tuple[list[str], list[str]]:
    """(what Snakemake would run, what DVC has run); afterwards DVC is up to date."""
    planned = project.planned()
    project.dvc("repro", "-q")
    return planned, project.ran()


def of(stage: str, *methods: str) -> list[str]:
    return [f"{stage} cremad {method} 0" for method in methods]


def reversed_keys(value: object) -> object:
    return {key: reversed_keys(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


def test_dvc_records_from_snakemake_what_it_would_have_made_itself(built: Project) -> None:
    recorded = yaml.safe_load((built.root / "dvc.lock").read_text())["stages"]
    assert [out["nfiles"] for out in recorded["figures-from-warmup@cremad-aim"]["outs"]] == [2], (
        "Snakemake's own mark in the folder is left out"
    )


@pytest.mark.slow
def test_models_of_one_modality_are_handed_on_by_snakemake_and_recorded_by_dvc(root: Path, tmp_path: Path) -> None:
    project = copy_project(root, tmp_path / "copy/project")
    recorded(project)
    ran = project.ran()
    assert {"unimodal cremad audio 0", "unimodal cremad visual 0", "train cremad finetune 0"} <= set(ran)
    assert len(ran) == 6 + 2 + 2 + 6 * 7 + 1 + 1 + 3 + 1
    assert reruns(project) == ([], [])


def test_settings_that_change_no_result_run_nothing(built: Project) -> None:
    text = (built.root / "params.yaml").read_text()
    values = yaml.safe_load(text)
    values["tracking"] = {"uri": "sqlite:///elsewhere.db", "enabled": False}
    values["runtime"]["workers"] = 7
    # The order of modalities is a setting (that of the model's encoders); no other order is.
    values = {key: value if key == "datasets" else reversed_keys(value) for key, value in reversed(values.items())}
    (built.root / "params.yaml").write_text("\n\n" + yaml.safe_dump(values, sort_keys=False, indent=7))
    try:
        assert reruns(built) == ([], [])
    finally:
        (built.root / "params.yaml").write_text(text)


@pytest.mark.slow  # which files a stage reads is tested quickly in tests/engines/test_closure.py
def test_a_method_s_file_reruns_that_method(built: Project) -> None:
    edit_code(built, "ogm/method.py")
    planned, ran = reruns(built)
    edit_code(built, "ogm/method.py", back=True)  # which DVC restores from its run cache
    # Snakemake plans what may change further down; DVC, having run, has seen that the trained files are the same.
    method = "ogm-ge"
    own = [f"{stage} cremad {method}" for stage in ("operations", "cost")]
    assert ran == sorted([*of("train", method), *of("evaluate", method), *own])
    assert planned == sorted(
        [*ran, f"summary cremad {method}", f"figures cremad {method}", *(job for job in TABLES if job != "tables cost")]
    )


@pytest.mark.slow
def test_edited_code_is_named_as_the_reason_dates_do_not_show_it_and_touch_adopts_it(built: Project) -> None:
    target = "results/cremad_ogm-ge.json"
    edit_code(built, "ogm/method.py")
    line = r"reason: Params have changed .* before: 'code ([0-9a-f]{64})' now: 'code ([0-9a-f]{64})' *$"
    before, now = re.findall(line, built.run("snakemake", "-n", "--", target).stdout, re.MULTILINE)[0]
    assert before != now
    assert "Nothing to be done" in built.run("snakemake", "-n", "--rerun-triggers", "mtime", "--", target).stdout
    built.run("snakemake", "--touch", "--", target)
    assert built.planned(target) == []
    edit_code(built, "ogm/method.py", back=True)
    assert "train cremad ogm-ge 0" in built.planned(target)
    built.run("snakemake", "--touch", "--", target)
    assert built.planned(target) == []


@pytest.mark.slow
def test_a_file_of_aim_reruns_the_aim_family(built: Project) -> None:
    edit_code(built, "aim/modulation.py")
    planned, ran = reruns(built)
    edit_code(built, "aim/modulation.py", back=True)
    # The prototypes stage imports the method, and with it modulation; its files stay the same.
    trained = sorted(
        [
            *of("train", "aim", "aim-no-pam"),
            *of("evaluate", "aim", "aim-no-pam"),
            *(f"{stage} cremad {method}" for stage in ("operations", "cost") for method in ("aim", "aim-no-pam")),
        ]
    )
    assert [job for job in ran if not job.startswith("prototypes")] == trained
    assert set(ran) <= set(planned)
    assert not [job for job in planned if "joint" in job or job.startswith("warmup")]


def test_a_base_s_setting_reruns_its_variants(built: Project) -> None:
    built.edit("params.yaml", "    lambda_mod: 6.0 ", "    lambda_mod: 3.0 ")
    planned, ran = reruns(built)
    built.edit("params.yaml", "    lambda_mod: 3.0 ", "    lambda_mod: 6.0 ")
    assert (
        {job.split()[2] for job in planned if job not in (*TABLES, *PAPER)}
        == {job.split()[2] for job in ran if job not in (*TABLES, *PAPER)}
        == {"aim", "aim-no-pam"}
    )
    assert {"tables comparison", "tables modalities", "tables cost", "paper table3"} <= set(ran), "results changed"
    assert not [job for job in planned if job.startswith(("warmup", "prototypes"))], "neither depends on lambda_mod"


def test_pull_restores_a_deleted_result_without_training(built: Project) -> None:
    built.dvc("repro", "-q")
    assert built.ran() == [], "settings taken back: restored from the run cache"
    result = built.root / "results/cremad_joint.json"
    kept = result.read_bytes()
    built.dvc("push", "-q")
    for folder in ("results", "models", ".dvc/cache"):
        shutil.rmtree(built.root / folder)
    built.dvc("pull", "-q")
    assert result.read_bytes() == kept
    assert (built.root.parent / "equimodal-dvc-store").is_dir(), "the remote that .dvc/config names"
    built.dvc("repro", "-q")
    assert built.ran() == []
    built.run("snakemake", "--touch", "--", str(result.relative_to(built.root)))
    assert built.planned(str(result.relative_to(built.root))) == []


def test_dvc_shows_metrics_plots_params_and_graph(built: Project, capfd: pytest.CaptureFixture[str]) -> None:
    def shown(*words: str) -> str:
        capfd.readouterr()
        built.dvc(*words)
        return capfd.readouterr().out

    assert "results/cremad_aim-no-pam.json" in shown("metrics", "show")
    assert "train-from-warmup@cremad-aim-0" in shown("dag", "--dot")
    shown("plots", "show")
    assert "curves.png" in (built.root / "dvc_plots/index.html").read_text()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "add", "-A", "."], cwd=built.root, check=True)
    subprocess.run([*git, "commit", "-qm", "all"], cwd=built.root, check=True)
    built.edit("params.yaml", "  workers: 2 ", "  workers: 3 ")
    built.dvc("repro", "-q", "plan")
    assert [line.split()[-2:] for line in shown("params", "diff").splitlines() if "runtime.workers" in line] == [
        ["2", "3"]
    ]


@pytest.mark.slow
def test_report_holds_captions_tables_and_figures(built: Project, tmp_path: Path) -> None:
    built.run("snakemake", "--cores", "2")
    built.run("snakemake", "--report", str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text()
    for part in (
        "cremad",
        "curves.svg",
        "methods compared",
        "Balanced multimodal learning",
        "side by side",
        "comparison",
        "by a linear probe",
        "What training each method",
    ):
        assert part in text, part


def edit_code(project: Project, file: str, back: bool = False) -> None:
    """Add a line to a file of the methods, or take it away."""
    path = project.root / "src/equimodal/methods" / file
    text = path.read_text()
    path.write_text(text.removesuffix("\n# edited\n") if back else text + "\n# edited\n")
