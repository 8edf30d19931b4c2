"""The command line: one line for a user's mistake, the right status, and a quick start."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

STUB = """
import os, time

def run(params, **axes):
    print(axes, os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"], flush=True)
    if axes.get("seed") == 9:
        time.sleep(60)
    if axes.get("seed") == 8:
        raise OSError(28, "No space left on device", "models/x")
    if axes.get("seed") == 7:
        raise RuntimeError("a defect")
"""


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with params.yaml, and a module that puts stub stages in place of the real ones."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "params.yaml").write_text((root / "params.yaml").read_text())
    (folder / "data/cremad").mkdir(parents=True)
    (folder / "data/cremad/manifest.json").write_text("{}")
    for stage in ("train", "summary", "features", "show"):
        (folder / f"stub_{stage}.py").write_text(STUB)
    (folder / "stubbed.py").write_text(
        "import importlib, sys\n"
        "from equimodal import cli\nimport equimodal.cli.program as program\n"
        "program.import_module = lambda name: importlib.import_module('stub_' + name.rpartition('.')[2])\n"
        "cli.main()\n"
    )
    return folder


def equimodal(project: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(project / "stubbed.py"), *words],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def refused(done: subprocess.CompletedProcess[str], status: int = 2) -> str:
    """The one line of a refusal."""
    assert done.returncode == status, done
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_stage_gets_its_axes_and_the_threads_of_params(project: Path) -> None:
    done = equimodal(project, "train", "--dataset", "cremad", "--method", "aim", "--seed", "3", OMP_NUM_THREADS="7")
    assert done.stdout == "{'dataset': 'cremad', 'method': 'aim', 'seed': 3} 1 PASSIVE\n"
    assert done.returncode == 0


def test_seeds_come_from_the_study_unless_given(project: Path) -> None:
    words = ("summary", "--dataset", "cremad", "--method", "aim")
    assert "'seeds': [0, 1, 2]" in equimodal(project, *words).stdout
    assert "'seeds': [4, 5]" in equimodal(project, *words, "--seeds", "4,5").stdout
    assert "--seeds 4,x: give whole numbers" in refused(equimodal(project, *words, "--seeds", "4,x"))
    assert "seeds are different numbers from 0 to 2147483647" in refused(
        equimodal(project, *words, "--seeds", "2147483648")
    )


def test_a_seed_has_the_bounds_that_params_yaml_sets(project: Path) -> None:
    words = ("train", "--dataset", "cremad", "--method", "aim", "--seed")
    assert "'seed': 2147483647" in equimodal(project, *words, "2147483647").stdout
    for seed in ("2147483648", "-1"):
        done = equimodal(project, *words, seed)
        assert done.returncode == 2 and done.stderr.strip().splitlines()[-1].startswith(
            "Error: Invalid value for '--seed'"
        )


def test_features_without_a_modality_are_all_of_the_dataset_s(project: Path) -> None:
    lines = equimodal(project, "features", "--dataset", "cremad").stdout.splitlines()
    assert ["audio" in lines[0], "visual" in lines[1]] == [True, True]
    assert "unknown modality 'smell'; cremad has: audio, visual" in refused(
        equimodal(project, "features", "--dataset", "cremad", "--modality", "smell")
    )


def test_unknown_names_are_one_line_with_the_valid_ones(project: Path) -> None:
    assert "unknown dataset 'cremadd'; params.yaml has: cremad, grid" in refused(
        equimodal(project, "raw", "--dataset", "cremadd")
    )
    line = refused(equimodal(project, "train", "--dataset", "cremad", "--method", "aimm", "--seed", "0"))
    assert line.startswith("error: unknown method 'aimm'; params.yaml has: agm, aim, ")
    assert "did you mean 'aim'?" in line


def test_a_full_disk_is_one_line(project: Path) -> None:
    assert "no space left while writing models/x" in refused(
        equimodal(project, "train", "--dataset", "cremad", "--method", "aim", "--seed", "8")
    )


def test_a_defect_shows_itself(project: Path) -> None:
    done = equimodal(project, "train", "--dataset", "cremad", "--method", "aim", "--seed", "7")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "a defect" in done.stderr


def test_outside_the_project_says_where_to_go(project: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "equimodal", "raw", "--dataset", "cremad"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "run in the project's root folder" in refused(done)


@pytest.mark.parametrize(
    ("sent", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_it_with_one_line(project: Path, sent: signal.Signals, status: int, word: str) -> None:
    command = [
        sys.executable,
        str(project / "stubbed.py"),
        "train",
        "--dataset",
        "cremad",
        "--method",
        "aim",
        "--seed",
        "9",
    ]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "'seed': 9" in process.stdout.readline()
    process.send_signal(sent)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error.strip().startswith(word), len(error.strip().splitlines())) == (status, True, 1), (
        error
    )


def test_the_parser_s_complaints_keep_their_status(project: Path) -> None:
    done = equimodal(project, "train", "--dataset", "cremad")
    assert done.returncode == 2
    assert "--method" in done.stderr and "Traceback" not in done.stderr


def test_only_the_first_process_of_a_ddp_training_takes_the_lock(project: Path) -> None:
    from filelock import FileLock

    (project / ".equimodal/locks").mkdir(parents=True, exist_ok=True)
    words = ("train", "--dataset", "cremad", "--method", "aim", "--seed", "5")
    with FileLock(project / ".equimodal/locks/train-cremad-aim-5.lock"):
        assert "train-cremad-aim-5 is already running here" in refused(equimodal(project, *words))
        assert equimodal(project, *words, LOCAL_RANK="1").returncode == 0


@pytest.mark.parametrize("stage", ["warmup", "prototypes", "train", "evaluate", "operations", "cost"])
def test_a_dataset_without_manifest_is_said_before_torch_is_imported(project: Path, stage: str) -> None:
    code = (
        "import sys\n"
        "class Refused:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        assert name.partition('.')[0] != 'torch', 'torch is imported'\n"
        "sys.meta_path.insert(0, Refused())\n"
        "from equimodal import cli\nimport equimodal.cli.program as program\n"
        "cli.main()\n"
    )
    words = [stage, "--dataset", "ks", "--method", "aim", *(() if stage in ("operations", "cost") else ("--seed", "0"))]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=project, capture_output=True, text=True, timeout=60)
    said = "error: data/ks/manifest.json is missing: build it first (snakemake --cores 4 -- data/ks/manifest.json)"
    assert refused(done) == said


def test_starting_imports_nothing_heavy() -> None:
    code = (
        "import sys, equimodal.cli; print(sorted({'torch', 'mlflow', 'pandas', 'numpy', 'snakemake',"
        " 'librosa'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_explain_says_what_a_key_means_and_refuses_others(root: Path) -> None:
    def explain(key: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "equimodal", "explain", key], cwd=root, capture_output=True, text=True, timeout=60
        )

    assert [line.split()[0] for line in explain("").stdout.splitlines()[:3]] == ["study", "runtime", "tracking"]
    assert explain("methods.aim-no-pam.pam").stdout.splitlines() == [
        "methods.aim-no-pam.pam",
        "  auxiliary blocks (parameter-adaptive modulation)",
        "  type     true | false",
        "  default  true",
        "  now      false",
    ]
    assert "now      15" in explain("datasets.cremad.training.epochs").stdout
    assert "now      64" in explain("datasets.grid-words-clean.training.batch_size").stdout
    for key, base in (("datasets.grid-words-clean", "grid-words"), ("methods.aim-no-pam", "aim")):
        assert f"now      {base}" in explain(f"{key}.base").stdout
    assert "did you mean 'epochs'?" in refused(explain("training.epoch"))
