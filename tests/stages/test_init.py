"""`equimodal init`: which files it writes, what is in its params.yaml, and what it refuses."""

import subprocess
from pathlib import Path

import pytest
import yaml

from equimodal.cli import app
from equimodal.errors import UserError
from equimodal.params import load_params
from equimodal.stages import init

FILES = {
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "Snakefile",
    "dvc.yaml",
    "params.yaml",
    "profiles/default/profile.yaml",
    "profiles/slurm/profile.yaml",
    "weights/README.md",
}


def files(folder: Path) -> set[str]:
    """What is in a folder, but for what git and DVC keep to themselves."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith((".git/", ".dvc/tmp/"))}


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_it_writes_a_workspace_and_says_what_to_do_next(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    app(["init", "my work/a"], standalone_mode=False)
    folder = tmp_path / "my work/a"
    assert files(folder) == FILES
    assert capsys.readouterr().out.splitlines() == [
        "my work/a: params.yaml (generated samples until you name your data), Snakefile, dvc.yaml (DVC without git),"
        " profiles/, weights/",
        "Next:",
        "  build     cd 'my work/a'; snakemake --cores 2 results/cremad_joint.json",
        "  record    dvc repro summary-from-scratch@cremad-joint",
        "  own data  equimodal add-dataset clips.csv --name mine",
        "  settings  equimodal explain datasets.cremad.source",
    ]
    # All of it is the checkout's, but for what is said here.
    for name in FILES - {"params.yaml", "Snakefile", "dvc.yaml", ".dvc/config"}:
        assert (folder / name).read_text() == (root / name).read_text(), name
    config = (folder / ".dvc/config").read_text()
    assert config.replace("    no_scm = true\n", "") == (root / ".dvc/config").read_text() != config
    stages, theirs = (yaml.safe_load((place / "dvc.yaml").read_text())["stages"] for place in (folder, root))
    assert theirs["plan"].pop("deps") == ["src/equimodal"]
    theirs["plan"]["always_changed"] = True
    assert stages == theirs


def test_its_params_are_the_packaged_ones_without_what_lies_beside_a_checkout(root: Path, tmp_path: Path) -> None:
    text = (root / "params.yaml").read_text()
    own = tmp_path / "params.yaml"
    own.write_text(init.own_params(text, "file:///schema.json"))
    assert own.read_text().startswith("# yaml-language-server: $schema=file:///schema.json\n# Every setting")
    left, all_ = load_params(own), load_params(root / "params.yaml")
    assert set(all_.datasets) - set(left.datasets) == {"grid-words", "grid-words-clean", "grid-digit"}
    assert set(all_.studies) - set(left.studies) == {"leaderboard"}
    kept, whole = yaml.safe_load(own.read_text()), yaml.safe_load(text)
    for section, entries in whole.items():
        assert kept[section] == (
            {name: entry for name, entry in entries.items() if name in kept[section]}
            if section in ("datasets", "studies")
            else entries
        )
    assert "../" not in own.read_text() and "GRID" not in own.read_text()
    assert set(own.read_text().splitlines()[1:]) < set(text.splitlines()), "comments and layout stay"


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_an_entry_goes_with_its_lines_wherever_it_stands(place: str) -> None:
    entries = {
        "first": "  out:\n    root: ../x  # beside\n\n  a: {kind: mosi}\n  b: {kind: mosi}\n",
        "middle": "  a: {kind: mosi}\n  out:\n    root: ../x  # beside\n\n  b: {kind: mosi}\n",
        "last": "  a: {kind: mosi}\n  b: {kind: mosi}\n  out:\n    root: ../x  # beside\n\n",
    }[place]
    text = f"# schema\ndatasets:\n{entries}studies:\n  one: {{datasets: [a]}}\n  two: {{datasets: [b, out]}}\n"
    left = init.own_params(text, "S")
    expected = "datasets:\n  a: {kind: mosi}\n  b: {kind: mosi}\nstudies:\n  one: {datasets: [a]}\n"
    assert left == "# yaml-language-server: $schema=S\n" + expected


@pytest.mark.parametrize("below", [".", "sub/folder"])
def test_in_a_git_repository_dvc_works_beside_git(tmp_path: Path, below: str) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "README.md").write_text("mine")
    folder = tmp_path / below
    init.run(folder)
    assert files(folder) - {"README.md"} == FILES
    assert "no_scm" not in (folder / ".dvc/config").read_text()
    (folder / "results").mkdir()
    (folder / "results/a.json").write_text("{}")
    (folder / "weights/mine.pth").write_text("")
    git(tmp_path, "add", "-A")
    prefix = "" if below == "." else f"{below}/"
    assert set(git(tmp_path, "ls-files").split()) == {"README.md", *(prefix + name for name in FILES)}


@pytest.mark.parametrize(
    ("there", "named"),
    [
        ("params.yaml", "params.yaml"),
        (".gitignore", ".gitignore"),
        (".dvc/config", ".dvc"),
        ("profiles/default/profile.yaml", "profiles/default/profile.yaml"),
    ],
)
def test_what_is_there_is_never_overwritten(tmp_path: Path, there: str, named: str) -> None:
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).write_text("mine")
    with pytest.raises(UserError, match=rf"has {named} already, and nothing is overwritten: name another folder"):
        init.run(tmp_path)
    assert files(tmp_path) == {there} and (tmp_path / there).read_text() == "mine"


def test_a_second_time_names_every_file_and_other_files_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/mine.pth").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    init.run(tmp_path)
    assert files(tmp_path) == {*FILES, "weights/mine.pth", "notes.txt"}
    names = "params.yaml, Snakefile, dvc.yaml, .dvc, profiles/default/profile.yaml"
    with pytest.raises(UserError, match=rf"has {names}"):
        init.run(tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("mine")
    with pytest.raises(UserError, match=r"work is a file: name a folder"):
        init.run(tmp_path / "work")


def test_what_dvc_refuses_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("work/\n")
    with pytest.raises(UserError, match=r"^dvc init --subdir in .*work: ERROR: .*is ignored by your SCM"):
        init.run(tmp_path / "work")
    assert files(tmp_path / "work") == set()
