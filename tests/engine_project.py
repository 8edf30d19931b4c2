"""A copy of the project whose stages write small files at once, so that the engines are tested in seconds."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

SMALL_STUDY = """
study:
  datasets: [cremad]
  from-scratch: [joint, audio, visual, ogm-ge]
  from-warmup: [aim, aim-no-pam]
  from-unimodal: [finetune]
  unimodal: [audio, visual]
  warmups: [aim]
  fits: [aim]
  seeds: [0]
  tables: [table3]
  figures: []
"""
# Its datasets and methods, all from scratch, are filled in.
SCRATCH_STUDY = """
study:
  datasets: [{datasets}]
  from-scratch: [{methods}]
  from-warmup: []
  from-unimodal: []
  unimodal: []
  warmups: []
  fits: []
  seeds: [0]
  tables: []
  figures: []
"""
SMALL_STUDIES = """
studies:
  table3: {show: accuracy, datasets: [cremad], methods: [joint, aim-no-pam, aim]}
"""

# Writes the files that the contract of each stage names, content depending on what it read; a real stage's imports do
# not matter here.
STUB = """
import json
from pathlib import Path
from equimodal.engines import declarations
from equimodal.store import digest, file_sha256, write_json

STAGE = "{stage}"


def run(params, dataset=None, method=None, modality=None, seed=None, seeds=None, table=None, study=None):
    dataset = dataset or ""
    data, model = Path("data", dataset), Path("models", dataset, str(method), str(seed))
    warmup, prototypes = Path("models", dataset, "warmup", str(seed)), Path("models", dataset, "prototypes", str(seed))
    weights = [model / f"{{rule}}.safetensors" for rule in ("val", "last", "test")]
    figures = Path("results", "figures", f"{{dataset}}_{{method}}")
    outputs = {{
        "raw": [data / "raw" / "manifest.json", data / "raw" / "clip.wav"],
        "index": [data / "index.json"],
        "features": [data / "features" / f"{{modality}}.npy", data / "features" / f"{{modality}}.json"],
        "manifest": [data / "manifest.json"],
        "weights": [data / "weights.safetensors"],
        "unimodal": [Path("models", dataset, "unimodal", str(seed), f"{{method}}.safetensors")],
        "warmup": [warmup / f"{{method}}.safetensors"],
        "prototypes": [prototypes / f"{{method}}.safetensors", prototypes / f"{{method}}.json"],
        "train": [*weights, model / "curves.json"],
        "evaluate": [model / "evaluation.json", model / "predictions.parquet"],
        "operations": [Path("models", dataset, str(method), "operations.json")],
        "summary": [
            Path("results", f"{{dataset}}_{{method}}.json"),
            Path("results", "digests", f"{{dataset}}_{{method}}.txt"),
        ],
        "figures": [figures / "curves.svg", figures / "curves.png"],
        "reference": [Path("results", "cost", "reference", f"{{dataset}}.json")],
        "cost": [Path("results", "cost", f"{{dataset}}_{{method}}.json")],
        "tables": [Path("results", "tables", f"{{table}}.{{ending}}") for ending in ("md", "csv", "tex", "html")],
        "paper": [Path("results", "paper", f"{{study}}.{{ending}}") for ending in ("md", "csv", "tex", "html")],
        "overview": [Path("results", "tables", f"{{dataset}}.html"), Path("results", "tables", f"{{dataset}}.md")],
    }}[STAGE]
    made = declarations.settings(params, STAGE, dataset or None, method, modality, study)
    with open("ran.txt", "a") as ran:
        axes = (STAGE, dataset or table or study, method or modality or "", "" if seed is None else seed)
        ran.write(" ".join(map(str, axes)).strip() + "\\n")
    for path in outputs:
        write_json(path, {{"stage": STAGE, "accuracy": 0.5, "made": digest(made), "seed": seed, "name": path.name}})
        if path.suffix == ".svg":
            path.write_text('<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>')
"""

UNWANTED = shutil.ignore_patterns("__pycache__", "*.egg-info")


@dataclass
class Project:
    """A copy of the project in a folder of its own."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment's bin folder in the copy;
        `check` fails the test with its output when it fails.
        """
        command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=timeout
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def dvc(self, *words: str) -> None:
        """A DVC command in this process (importing DVC takes as long as most commands); it must succeed."""
        from dvc.cli import main

        before = Path.cwd()
        with mock.patch.dict(os.environ, self.environment, clear=True):
            os.chdir(self.root)
            try:
                assert main(list(words)) == 0, f"dvc {' '.join(words)} failed"
            finally:
                os.chdir(before)

    def planned(self, *targets: str) -> list[str]:
        """Jobs that Snakemake would run now, as `stage dataset method-or-modality seed`, sorted."""
        listing = self.run("snakemake", "-n", "--", *targets).stdout
        axes = re.findall(r"^(?:local)?rule (\w+):$.*?^    wildcards: (.*?)$", listing, re.MULTILINE | re.DOTALL)
        return sorted(
            {" ".join([rule.partition("_from_")[0], *re.findall(r"=([^,]+)", wildcards)]) for rule, wildcards in axes}
        )

    def ran(self) -> list[str]:
        """Stages that ran since the last call, sorted."""
        log = self.root / "ran.txt"
        lines = sorted(log.read_text().splitlines()) if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace `old`, which must be there, in a file."""
        text = (self.root / path).read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {path}"
        (self.root / path).write_text(text.replace(old, new))


def copy_project(source: Path, target: Path, study: str | None = SMALL_STUDY, stubs: bool = True) -> Project:
    """The project's workflow and code with stub stages (or its own), as a git repository;
    `study` replaces that of params.yaml.
    """
    target.mkdir(parents=True)
    for folder in ("src", "workflow", "weights"):
        shutil.copytree(source / folder, target / folder, ignore=UNWANTED)
    (target / "profiles").symlink_to("workflow/profiles")
    (target / ".dvc").mkdir()
    for name in ("Snakefile", "dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(source / name, target / name)
    if stubs:
        stub_stages(target / "src/equimodal")
    params = (source / "params.yaml").read_text()
    (target / "params.yaml").write_text(params if study is None else small_study(params, study))
    project = Project(target, environment(target / "src", target.parent))
    subprocess.run(["git", "init", "-q", "."], cwd=target, check=True, env=project.environment)
    return project


def install(source: Path, target: Path) -> None:
    """The package with stub stages in folder `target`, its files where the wheel has them (pyproject.toml)."""
    shutil.copytree(source / "src/equimodal", target / "equimodal", ignore=UNWANTED)
    wheel = tomllib.loads((source / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name, place in wheel["force-include"].items():
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy
        copy(source / name, target / place)
    stub_stages(target / "equimodal")


def stub_stages(package: Path) -> None:
    """Put stubs in place of the stages of the package at `package`."""
    from equimodal.engines.declarations import STAGES

    for stage in (*STAGES, "overview", "tables", "paper"):
        (package / "stages" / f"{stage}.py").write_text(STUB.format(stage=stage))


def small_study(params: str, study: str = SMALL_STUDY) -> str:
    """A text of params.yaml with `study`, and one of `studies`."""
    start, end = params.index("\nstudy:"), params.index("\nruntime:")
    params = params[:start] + study + params[end:]
    return params[: params.index("\nstudies:")] + SMALL_STUDIES


def environment(code: Path, home: Path) -> dict[str, str]:
    """Variables of processes that import the package from folder `code`, without settings and caches of the person who
    runs the tests.
    """
    variables = {
        **os.environ,
        "PYTHONPATH": str(code),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(home),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc-global"),
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "SHELL": "/bin/sh",
    }
    for name in ("DVC_STAGE", "EQUIMODAL_ENGINE"):
        variables.pop(name, None)
    return variables
