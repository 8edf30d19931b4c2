"""The wheel as a user has it: built, installed into an environment of its own, at work without a checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

from engine_project import environment

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
OFFLINE = ["--no-deps", "--no-index"]


def built(source: Path, folder: Path) -> Path:
    """The wheel made of a checkout or an sdist."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: make install")
    subprocess.run([*PIP, "wheel", *OFFLINE, "--no-build-isolation", "-w", folder, source], check=True)
    (wheel,) = folder.glob("equimodal-*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the wheel, and the packages it needs from ours; our own equimodal is not there."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = built(root, folder)
    venv.create(folder / "env", symlinks=True)
    python = folder / "env/bin/python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip()
    # Files .pth in a folder that is named like this are not read: an editable install of ours stays out.
    Path(site, "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([*PIP, "--python", python, "install", *OFFLINE, wheel], check=True)
    return python


@pytest.fixture(scope="module")
def work(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    assert "Next:" in run(python, home, "equimodal", "init", "work")
    params = home / "work/params.yaml"
    text = params.read_text()
    assert text.count("{actors: 20, clips_per_actor: 36,") == 1
    params.write_text(text.replace("{actors: 20, clips_per_actor: 36,", "{actors: 5, clips_per_actor: 6,"))
    return home / "work"


def run(python: Path, folder: Path, module: str, *words: str) -> str:
    """Output of `python -m MODULE`."""
    variables = environment(Path(os.devnull), folder.parent)
    del variables["PYTHONPATH"]
    variables["PATH"] = os.pathsep.join([str(python.parent), variables["PATH"]])
    done = subprocess.run(
        [str(python), "-m", module, *words], cwd=folder, env=variables, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_it_is_the_wheel_that_runs(python: Path, work: Path) -> None:
    code = "import equimodal, sys; print(equimodal.workflow_folder(), [p for p in sys.path if p.endswith('src')])"
    folder = python.parent.parent
    out = subprocess.run([python, "-c", code], cwd=work, capture_output=True, text=True, env={"HOME": "/"}).stdout
    assert out.startswith(f"{folder}/lib/") and out.endswith("site-packages/equimodal/project []\n")


@pytest.mark.slow
def test_snakemake_plans_and_builds_the_first_stages(python: Path, work: Path) -> None:
    planned = run(python, work, "snakemake", "-n", "results/cremad_joint.json")
    assert "rule summary" in planned and "rule train_from_scratch" in planned
    said = run(python, work, "snakemake", "--cores", "2", "--", "data/cremad/index.json")
    assert "2 of 2 steps (100%) done" in said
    assert "Nothing to be done" in run(python, work, "snakemake", "-n", "--", "data/cremad/index.json")


@pytest.mark.slow
def test_dvc_goes_on_from_there(python: Path, work: Path) -> None:
    run(python, work, "equimodal", "plan")
    run(python, work, "dvc", "commit", "-f", "plan", "raw@cremad", "index@cremad")
    said = run(python, work, "dvc", "repro", "index@cremad")
    assert "Running stage 'plan'" in said and "Stage 'raw@cremad' didn't change, skipping" in said
    assert "now      15" in run(python, work, "equimodal", "explain", "datasets.cremad.training.epochs")


@pytest.mark.slow
def test_an_sdist_gives_the_same_wheel(root: Path, tmp_path: Path) -> None:
    first = built(root, tmp_path)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", tmp_path]
    subprocess.run(build, cwd=root, check=True, capture_output=True)
    (tmp_path / "again").mkdir()
    second = built(next(tmp_path.glob("equimodal-*.tar.gz")), tmp_path / "again")
    files = [{info.filename: info.CRC for info in ZipFile(wheel).infolist()} for wheel in (first, second)]
    assert files[0] == files[1]
    assert "equimodal/project/workflow/profiles/default/profile.yaml" in files[0]
