"""docs/own_method.md builds a method: its example, put where the page says, works from the command line to a result."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tiny_dataset
from equimodal.store import read_json

NAME, FOLDER = "modality-dropout", "modality_dropout"


@pytest.fixture(scope="module")
def source(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of src with the page's steps 1 to 3 taken."""
    target = tmp_path_factory.mktemp("own") / "src"
    shutil.copytree(root / "src", target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(root / "docs/examples/own_method", target / "equimodal/methods" / FOLDER, dirs_exist_ok=True)
    line = re.search(rf'^    ("{NAME}": Entry\(.*\),)$', (root / "docs/own_method.md").read_text(), re.MULTILINE)
    assert line is not None
    registry = target / "equimodal/methods/registry.py"
    text = registry.read_text()
    if f'"{NAME}"' in text:  # whoever has built the method by the page
        return target
    registry.write_text(text.replace('    "joint": Entry(', f'    {line[1]}\n    "joint": Entry(', 1))
    return target


def run(source: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python with the copy's package."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_example_trains_evaluates_and_is_summarised_without_an_entry_in_params(source: Path, tiny: Path) -> None:
    tiny_dataset.write_params(tiny, training={"epochs": 2})
    axes = ("--dataset", "tiny", "--method", NAME)
    stages = [
        ("train", *axes, "--seed", "0"),
        ("evaluate", *axes, "--seed", "0"),
        ("operations", *axes),
        ("summary", *axes, "--seeds", "0"),
        ("explain", f"methods.{NAME}.share"),
    ]
    # One process for all: each would spend its seconds on torch's import.
    program = f"from equimodal.cli import app\nfor words in {stages}:\n    app(list(words), standalone_mode=False)"
    done = run(source, tiny, "-c", program)
    assert done.returncode == 0, done.stderr
    assert read_json(tiny / f"results/tiny_{NAME}.json")["method"]["settings"]["share"] == 0.2
    explained = done.stdout
    assert "share of the samples of a batch that lose one modality" in explained and "default  0.2" in explained


def test_the_example_s_own_test_passes_and_a_wrong_share_is_one_line(source: Path, root: Path, tiny: Path) -> None:
    ours = os.pathsep.join([str(source), str(root / "tests")])
    words = ["-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(root), "-c", str(root / "pyproject.toml")]
    file = str(root / "docs/examples/own_method/test_method.py")
    done = subprocess.run(
        [sys.executable, *words, f"--confcutdir={root / 'tests'}", "-p", "conftest", file],
        cwd=root, env={**os.environ, "PYTHONPATH": ours}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    raw = tiny_dataset.raw_params()
    raw["methods"][NAME] = {"share": 1.5}
    (tiny / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    done = run(source, tiny, "-m", "equimodal", "train", "--dataset", "tiny", "--method", NAME, "--seed", "0")
    assert done.returncode == 2 and f"methods.{NAME}.share" in done.stderr.splitlines()[-1]
