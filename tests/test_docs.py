"""What README.md, the pages of docs and comments name is there: files and modules of the project, links, commands."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from equimodal.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
COMMENTED = [
    *(ROOT / name for name in ("params.yaml", "dvc.yaml", "Snakefile", "Makefile")),
    *sorted(path for top in ("src", "benchmarks", "docs/examples") for path in (ROOT / top).rglob("*.py")),
    *sorted(ROOT.glob("workflow/rules/*.smk")),
]

TOPS = ("src", "docs", "tests", "benchmarks", "workflow")
# What is below a folder of the root, and code by its path below the root, docs or src/equimodal. Words in capitals
# stand for any name; what has other placeholders is no path.
PATH = re.compile(rf"(?<![\w./:$-])((?:{'|'.join(TOPS)})/[\w./-]*[\w/]|[\w-]+/[\w./-]*\.(?:py|smk))(?![\w{{*-])")
BARE = re.compile(r"`(\w+\.(?:py|smk))`")
MODULE = re.compile(r"(?<![\w./])equimodal(?:\.[a-z_0-9]+)+")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
CODE = re.compile(r"```[\s\S]*?```|^ {4}.*$|`[^`\n]+`", re.MULTILINE)
COMMAND = re.compile(r"(?:`|^ *)equimodal ([a-z-]+)", re.MULTILINE)

# Files that a reader is told to write are called mine or conv.
YOURS = re.compile(r"(^|[/.])(mine|conv|modality[_-]dropout)([/.]|$)")
# git-lfs's own document of its protocol; an example of how Python imports.
FOREIGN = {"docs/api/batch.md", "a/b/__init__.py"}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def missing_paths(text: str) -> set[str]:
    """Paths in `text` that are below none of the folders that paths are given from."""
    found = {path for path in PATH.findall(text) if not YOURS.search(path)} - FOREIGN
    patterns = {path: re.sub(r"\b[A-Z]+\b", "*", path.rstrip("/")) for path in found}
    bases = (ROOT, ROOT / "docs", ROOT / "src/equimodal")
    return {path for path, pattern in patterns.items() if not any(any(base.glob(pattern)) for base in bases)}


def missing_modules(text: str) -> set[str]:
    """Modules in `text` that are none; a name inside a module counts as that module."""
    names = {name for name in MODULE.findall(text) if not YOURS.search(name)}
    return {name for name in names if not (is_module(name) or is_module(name.rpartition(".")[0]))}


def is_module(name: str) -> bool:
    path = ROOT / "src" / name.replace(".", "/")
    return (path / "__init__.py").is_file() or path.with_suffix(".py").is_file()


def anchors(page: Path) -> set[str]:
    """What a page's headings are linked by, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_is_gone_is_found() -> None:
    text = "`methods/gone.py`, (src/equimodal/old/), methods/NAME/gone.py, equimodal.metrics.gone.cost; `val/accuracy`"
    assert missing_paths(text) == {"methods/gone.py", "src/equimodal/old/", "methods/NAME/gone.py"}
    assert missing_modules(text) == {"equimodal.metrics.gone.cost"}
    assert not missing_paths("methods/NAME/settings.py, src/equimodal/datasets/mine/settings.py, engines/closure.py")
    assert not missing_modules("equimodal.features.video, equimodal.cli.app, equimodal.datasets.mine.dataset")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_names_what_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not missing_paths(text)
    assert not missing_modules(text)
    assert not {name for name in BARE.findall(text) if not any(any((ROOT / top).rglob(name)) for top in TOPS)}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_links_of_a_page_resolve(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), f"a link to {target}"
        assert not anchor or anchor in anchors(linked), f"a link to {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_commands_of_a_page_are_there(page: Path) -> None:
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    code = "\n".join(CODE.findall(page.read_text(encoding="utf-8")))
    assert set(COMMAND.findall(code)) <= commands


def test_comments_name_what_is_there() -> None:
    texts = {named(path): path.read_text(encoding="utf-8") for path in COMMENTED}
    missing = {name: missing_paths(text) | missing_modules(text) for name, text in texts.items()}
    assert not {name: found for name, found in missing.items() if found}
