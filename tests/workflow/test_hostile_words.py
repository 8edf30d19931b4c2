"""No word of params.yaml or of a target is read by a shell as anything but a word, whatever stage is asked for."""

import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage.run import cmd_run

from engine_project import SCRATCH_STUDY, Project, copy_project
from equimodal.errors import UserError
from equimodal.params import parse_params

MARK = "executed"  # the file that a word would make if a shell ran it
WORDS = [
    f"0; touch {MARK} #",
    f"0 && touch {MARK}",
    f"0 | touch {MARK}",
    f"0 > {MARK}",
    f"$(touch {MARK})",
    f"`touch {MARK}`",
    f"0'; touch {MARK}; '",
    f'0"; touch {MARK}; "',
    f"0\ntouch {MARK}\n",
    f"0'\ntouch {MARK}\n'",
    f"0\x0btouch {MARK}\x0b",  # DVC runs each line of a command, and Python takes this for the end of one
    f"-0 & touch {MARK} &",
]
# what YAML can have in place of a word
SECTIONS = [{f"x; touch {MARK} #": 1}, {"x": f"0; touch {MARK} #"}, [f"0; touch {MARK} #"]]
LISTS = (
    "datasets",
    "from-scratch",
    "from-warmup",
    "from-unimodal",
    "unimodal",
    "warmups",
    "fits",
    "seeds",
    "tables",
    "figures",
)


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy in which `equimodal` does nothing."""
    study = SCRATCH_STUDY.format(datasets="cremad", methods="joint")
    made = copy_project(root, tmp_path_factory.mktemp("copy") / "project", study)
    stub = made.root / "bin/equimodal"
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\nexit 0\n")
    stub.chmod(0o755)
    return made


@pytest.fixture
def study(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Writes a section `study` in which every list has one member, those named in its arguments this one."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("PATH", f"{project.root / 'bin'}{os.pathsep}{os.environ['PATH']}")
    params = Path("params.yaml")
    before = params.read_text()
    plain = dict.fromkeys(LISTS, "joint") | {"datasets": "cremad", "seeds": 0, "tables": "table3", "figures": "f"}

    def write(**places: Any) -> None:
        lists = {name: [word] for name, word in {**plain, **places}.items()}
        params.write_text(yaml.safe_dump({**yaml.safe_load(before), "study": lists}))

    yield write
    params.write_text(before)


@pytest.mark.parametrize("word", WORDS, ids=repr)
def test_dvc_runs_no_word_of_a_study(word: str, study: Callable[..., None]) -> None:
    study(**dict.fromkeys(LISTS, word))
    with Repo() as repo:
        stages = [stage for stage in repo.index.stages if "@" in stage.name and not stage.name.endswith("modalities")]
        for stage in stages:
            assert word in shlex.split(stage.cmd) or "equimodal tables" in stage.cmd, stage.cmd
            try:
                cmd_run(stage)
            except DvcException:  # a word of several lines is half a quotation in the first of them
                assert len(word.splitlines()) > 1
            assert not Path(MARK).exists(), stage.cmd
    assert len(stages) > 20


@pytest.mark.parametrize("place", LISTS)
def test_dvc_takes_no_section_for_a_word(place: str, study: Callable[..., None]) -> None:
    study(**{place: SECTIONS[LISTS.index(place) % len(SECTIONS)]})
    with pytest.raises(DvcException), Repo() as repo:
        assert repo.index.stages


def shipped(root: Path) -> dict[str, Any]:
    raw: dict[str, Any] = yaml.safe_load((root / "params.yaml").read_text())
    return raw


def test_no_command_takes_such_a_word_from_params(root: Path) -> None:
    for place, word in zip(LISTS, [*WORDS[:7], *SECTIONS], strict=True):
        raw = shipped(root)
        raw["study"][place] = [*raw["study"].get(place, []), word]
        with pytest.raises(UserError):
            parse_params(raw)
    raw = shipped(root)
    raw["study"]["unimodal"] = [WORDS[0]]
    with pytest.raises(UserError, match=r"study.unimodal lists '0; touch executed #', whose training "):
        parse_params(raw)
    raw = shipped(root)
    raw["datasets"][WORDS[0]] = raw["datasets"]["cremad"]
    found = parse_params(raw)
    assert WORDS[0] in found.broken and WORDS[0] not in found.datasets, "of no use, but no matter for the others"
    for section, word in zip(("methods", "studies"), WORDS[1:], strict=False):
        raw = shipped(root)
        raw[section][word] = next(iter(raw[section].values()))
        with pytest.raises(UserError):
            parse_params(raw)
    raw = shipped(root)
    raw["datasets"]["cremad"]["modalities"][WORDS[0]] = {"kind": "spectrogram"}
    found = parse_params(raw)
    with pytest.raises(UserError):
        found.dataset("cremad")


def test_every_word_of_a_rule_is_one_of_a_known_set(root: Path) -> None:
    """Snakemake's rules put words into a shell as they are: each must be held to names of params.yaml, or to digits."""
    rules = {path: path.read_text() for path in sorted((root / "workflow/rules").glob("*.smk"))}
    everywhere = rules[root / "workflow/rules/declarations.smk"].partition("\nwildcard_constraints:\n")[2]
    constraints = dict(re.findall(r"^    (\w+)=(.+),$", everywhere, re.MULTILINE))
    literal = [text[1:-1] for text in constraints.values() if text.startswith('"') and "join" not in text]
    assert not [(pattern, word) for pattern in literal for word in WORDS if re.fullmatch(pattern, word)]
    of_names = {f'"|".join(PARAMS.{names})' for names in ("datasets", "method_names", "studies")}
    assert {text for text in constraints.values() if text[1:-1] not in literal} == of_names
    for path, text in rules.items():
        for block in re.split(r"^(?=(?:use )?rule )", text, flags=re.MULTILINE)[1:]:
            own = block.partition("wildcard_constraints:\n")[2].partition("\n    resources:")[0]
            for name in re.findall(r"\{wildcards\.(\w+)", block.partition("    shell:")[2]):
                assert name in constraints or f"        {name}=" in own, f"{path}: {name}"


def test_snakemake_refuses_them(project: Project) -> None:
    project.edit("params.yaml", "  seeds: [0]", f"  seeds: ['0; touch {MARK} #']")
    try:
        done = project.run("snakemake", "--cores", "1", check=False)
        said = done.stderr.strip().splitlines()[-1]
        assert done.returncode and said.startswith("error: params.yaml: study.seeds.0 = '0; touch executed #'"), said
    finally:
        project.edit("params.yaml", f"  seeds: ['0; touch {MARK} #']", "  seeds: [0]")
    target = f"models/cremad/joint/0; touch {MARK} #/val.safetensors"
    assert project.run("snakemake", "--cores", "1", "--", target, check=False).returncode
    assert not (project.root / MARK).exists()
