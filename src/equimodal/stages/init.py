"""A folder to work in without a checkout: settings of its own, the workflow of the installed package."""

import os
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from equimodal.engines.packaged import workflow_folder
from equimodal.errors import UserError
from equimodal.params.bases import with_bases
from equimodal.params.text import LOADER

SNAKEFILE = '''"""The workflow of the installed equimodal, upgrades included; rules of your own may stand below."""

from equimodal import workflow_folder


include: workflow_folder() / "Snakefile"
'''
# As they are packaged; profiles and start weights are the owner's from now on.
COPIED = {
    "profiles/default/profile.yaml": "workflow/profiles/default/profile.yaml",
    "profiles/slurm/profile.yaml": "workflow/profiles/slurm/profile.yaml",
    "weights/README.md": "weights/README.md",
    ".gitignore": ".gitignore",
    ".dvcignore": ".dvcignore",
    ".dvc/.gitignore": ".dvc/.gitignore",
}
CODE = "    deps: [src/equimodal]\n"  # of dvc.yaml's stage `plan`, in a checkout
ANYTIME = """    # The package lies elsewhere on each machine and cannot be named here: `plan` looks every time.
    always_changed: true
"""


def run(folder: Path) -> None:
    """Make `folder`, or add to it, what Snakemake and DVC need; say on stdout what is there and what to do next.

    Raises:
        UserError: it is a file, or has some of the files already (nothing is written then); DVC refuses the folder.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder")
    by_git = _below_git(folder)
    texts = _texts(workflow_folder(), no_scm=by_git is None)
    names = dict.fromkeys(".dvc" if name.startswith(".dvc/") else name for name in texts)
    if present := [name for name in names if os.path.lexists(folder / name)]:
        raise UserError(
            f"{folder} has {', '.join(present)} already, and nothing is overwritten: name another folder, or move them"
            " away"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _dvc_init(folder, by_git)
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print("\n".join(_next_steps(folder, by_git)))


def _texts(source: Path, no_scm: bool) -> dict[str, str]:
    """{file: text} of everything but what DVC makes for itself."""

    def text(name: str) -> str:
        return (source / name).read_text(encoding="utf-8")

    plan = text("dvc.yaml")
    if plan.count(CODE) != 1:
        raise ValueError(f"{source / 'dvc.yaml'}: no line {CODE.strip()!r}")
    config = text(".dvc/config")
    return {
        "params.yaml": own_params(text("params.yaml"), (source / "workflow/schemas/params.schema.json").as_uri()),
        "Snakefile": SNAKEFILE,
        "dvc.yaml": plan.replace(CODE, ANYTIME),
        ".dvc/config": config.replace("[core]\n", "[core]\n    no_scm = true\n", 1) if no_scm else config,
        **{name: text(packaged) for name, packaged in COPIED.items()},
    }


def own_params(text: str, schema: str) -> str:
    """The packaged params.yaml without datasets whose files lie beside a checkout (`root: ../...`), and without studies
    of these; `schema` is the address where editors find what each key may be.
    """
    values = yaml.load(text, LOADER)
    beside = {name for name, entry in with_bases(values["datasets"]).items() if entry.get("root", "").startswith("../")}
    dropped = {
        "datasets": beside,
        "studies": {name for name, study in values["studies"].items() if beside & set(study["datasets"])},
    }
    lines = text.splitlines(keepends=True)
    lines[0] = f"# yaml-language-server: $schema={schema}\n"
    for first, end in reversed(_entries(text, dropped)):
        del lines[first:end]
    return "".join(lines)


def _entries(text: str, names: dict[str, set[str]]) -> list[tuple[int, int]]:
    """(first line, line after the last) of the entries `names` of sections, in order; blank lines belong to the entry
    before them.
    """
    root: Any = yaml.compose(text, LOADER)
    found = []
    sections = [*root.value, (None, None)]
    for (key, section), (following, _) in pairwise(sections):
        if key.value not in names:
            continue
        starts = [name.start_mark.line for name, _ in section.value]
        ends = [*starts[1:], following.start_mark.line if following else text.count("\n")]
        found += [
            (start, end)
            for (name, _), start, end in zip(section.value, starts, ends, strict=True)
            if name.value in names[key.value]
        ]
    return found


def _below_git(folder: Path) -> Path | None:
    """The root of the git repository that `folder` is in, or will be."""
    whole = folder.resolve()
    return next((parent for parent in (whole, *whole.parents) if (parent / ".git").exists()), None)


def _dvc_init(folder: Path, by_git: Path | None) -> None:
    options = ["--no-scm"] if by_git is None else ["--subdir"] if by_git != folder.resolve() else []
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "init", *options], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"{' '.join(['dvc init', *options])} in {folder}: {done.stderr.strip()}")


def _next_steps(folder: Path, by_git: Path | None) -> list[str]:
    enter = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))}; "
    records = "DVC without git" if by_git is None else "DVC beside git"
    return [
        f"{folder}: params.yaml (generated samples until you name your data), Snakefile, dvc.yaml ({records}),"
        " profiles/, weights/",
        "Next:",
        f"  build     {enter}snakemake --cores 2 results/cremad_joint.json",
        "  record    dvc repro summary-from-scratch@cremad-joint",
        "  own data  equimodal add-dataset clips.csv --name mine",
        "  settings  equimodal explain datasets.cremad.source",
    ]
