"""Snakemake and DVC hold the same graph for the study of params.yaml: the same commands, files and dependencies."""

import re
from pathlib import Path

import pytest

from engine_project import Project, copy_project

Graph = dict[str, set[str]]


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy with the study as it ships."""
    return copy_project(root, tmp_path_factory.mktemp("copy") / "project", study=None)


def command_of(text: str) -> str:
    """The command without Snakemake's log, and without what DVC cannot say (see dvc.yaml, stage features)."""
    return re.sub(r" --modality \S+", "", text.partition(" &> ")[0]).strip()


@pytest.fixture(scope="module")
def snakemake(whole: Project) -> tuple[Graph, Graph]:
    """Of the jobs with a command: command -> outputs, command -> inputs."""
    listing = whole.run("snakemake", "-n", "-F", "-p").stdout
    outputs: Graph = {}
    inputs: Graph = {}
    for block in re.split(r"^(?:local)?rule ", listing, flags=re.MULTILINE)[1:]:
        found = re.search(r"^Shell command: (equimodal .*)$", block, re.MULTILINE)
        # the report's table: DVC has `dvc metrics show`
        if found is None or found[1].startswith("equimodal overview "):
            continue
        command = command_of(found[1])
        for kind, graph in (("output", outputs), ("input", inputs)):
            lines = re.findall(rf"^    {kind}: (.*)$", block, re.MULTILINE)
            assert len(lines) == 1 or (kind == "input" and command.split()[1] in ("raw", "weights")), block
            graph.setdefault(command, set()).update(path for line in lines for path in line.split(", "))
    return outputs, inputs


@pytest.fixture(scope="module")
def dvc(whole: Project) -> tuple[Graph, Graph]:
    """The same of DVC's stages, `plan` aside."""
    from dvc.repo import Repo

    with Repo(str(whole.root)) as repo:
        stages = [stage for stage in repo.index.stages if stage.name != "plan"]
        files = {
            stage.cmd: ({out.def_path for out in stage.outs}, {dep.def_path for dep in stage.deps}) for stage in stages
        }
    assert len(files) == len(stages), "two stages with one command"
    outputs = {command: outs for command, (outs, _) in files.items()}
    inputs = {
        command: {dep for dep in deps if not dep.startswith("data/plan/")} for command, (_, deps) in files.items()
    }
    return outputs, inputs


def inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def before(outputs: Graph, inputs: Graph) -> Graph:
    """Command -> all commands that must have run, directly or not."""
    direct = {
        command: {
            maker
            for maker, outs in outputs.items()
            if maker != command and any(inside(dep, out) or inside(out, dep) for dep in deps for out in outs)
        }
        for command, deps in inputs.items()
    }
    closed = {command: set(makers) for command, makers in direct.items()}
    for _ in direct:
        grown = {
            command: makers | {further for maker in makers for further in closed[maker]}
            for command, makers in closed.items()
        }
        if grown == closed:
            return closed
        closed = grown
    raise AssertionError("the graph has a circle")


def test_same_commands(snakemake: tuple[Graph, Graph], dvc: tuple[Graph, Graph]) -> None:
    assert set(snakemake[0]) == set(dvc[0])
    assert len(dvc[0]) > 50


def test_same_outputs(snakemake: tuple[Graph, Graph], dvc: tuple[Graph, Graph]) -> None:
    for command, outs in snakemake[0].items():
        folders = dvc[0][command]
        assert all(any(inside(out, folder) for folder in folders) for out in outs), command
        assert all(any(inside(out, folder) for out in outs) for folder in folders), command


def test_same_dependencies(snakemake: tuple[Graph, Graph], dvc: tuple[Graph, Graph]) -> None:
    # Compared as what must come before what: DVC names folders (models/cremad/aim)
    # where Snakemake names the files it reads.
    left, right = before(*snakemake), before(*dvc)
    for command in left:
        assert left[command] == right[command], command
    assert any("prototypes" in maker for maker in left["equimodal train --dataset cremad --method aim --seed 0"])


def test_dvc_yaml_stays_readable(root: Path) -> None:
    assert len((root / "dvc.yaml").read_text().splitlines()) < 220


def test_every_rule_compares_the_code_and_the_settings_of_the_stage_that_it_runs(root: Path) -> None:
    rules = "".join(path.read_text() for path in sorted((root / "workflow/rules").glob("*.smk")))
    blocks = [block for block in re.split(r"^(?:use )?rule ", rules, flags=re.MULTILINE) if "    shell:" in block]
    assert len(blocks) > 15
    for block in blocks:
        (stage,) = re.findall(r'^        "equimodal (\w+) ', block, re.MULTILINE)
        assert f'        code=code("{stage}"),\n' in block, block
        settings = "paper_settings" if stage == "paper" else f'settings("{stage}")'
        assert f"        settings={settings},\n" in block, block
