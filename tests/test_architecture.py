"""Who imports whom: the layers of pyproject.toml, no circle, and third-party packages that are declared."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter.cli import lint_imports

# Declared though no file of src imports them.
USED_OTHERWISE = {
    "snakemake": "the engine's command",
    "onnx": "torch's exporter",
    "onnxscript": "torch's exporter",
    "dvc": "the engine's command",
}
# Of the extra `dev`: tools, and what pytest loads by itself.
TOOLS = {"hatchling", "pytest-xdist", "ruff", "mypy", "snakefmt"}


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    """pyproject.toml's [project]."""
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def test_dependencies_point_down(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken = lint_imports(str(root / "pyproject.toml"), no_cache=True, no_logo=True)
    assert not broken, capfd.readouterr().out


def test_no_module_imports_one_that_needs_it() -> None:
    """Among siblings the contract of pyproject.toml sees to it; here also between a package and what is in it."""
    graph = grimp.build_graph("equimodal", cache_dir=None, exclude_type_checking_imports=True)
    circles = [
        f"{module} -> {imported}"
        for module in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(module))
        if graph.chain_exists(importer=imported, imported=module)
    ]
    assert circles == []


def test_optional_frameworks_load_only_when_asked_for() -> None:
    """Their packages are nobody's dependency: only `equimodal.__getattr__` gets to these modules."""
    graph = grimp.build_graph("equimodal", cache_dir=None)
    for name in ("lightning_monitor", "huggingface_monitor"):
        assert graph.find_modules_that_directly_import(f"equimodal.diagnosis.{name}") == set()


def test_every_folder_of_code_is_a_package(root: Path) -> None:
    """import-linter passes over the others in silence."""
    folders = {path.parent for path in (root / "src/equimodal").rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_the_library_declares_what_it_imports(root: Path, project: dict[str, Any]) -> None:
    declared, imported = names(project["dependencies"]), third_party(root / "src")
    assert [module for module, homes in imported.items() if not homes & declared] == [], "imported, not declared"
    assert declared - set(USED_OTHERWISE) - set().union(*imported.values()) == set(), "declared, not imported"


def test_tests_and_benchmarks_declare_what_they_import(root: Path, project: dict[str, Any]) -> None:
    extra = names(project["optional-dependencies"]["dev"])
    declared, imported = extra | names(project["dependencies"]), third_party(root / "tests", root / "benchmarks")
    assert [module for module, homes in imported.items() if not homes & declared] == [], "imported, not declared"
    assert extra - TOOLS - set().union(*imported.values()) == set(), "declared, not imported"


def test_every_declared_package_has_one_exact_version(root: Path, project: dict[str, Any]) -> None:
    lines = (root / "constraints.txt").read_text().splitlines()
    pinned = names([line for line in lines if "==" in line])
    declared = names(project["dependencies"] + project["optional-dependencies"]["dev"])
    assert lines and sorted(declared - pinned) == []


def names(requirements: list[str]) -> set[str]:
    """Normalised names of distributions, from requirements such as `numpy>=2`."""
    return {_normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in requirements}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def third_party(*folders: Path) -> dict[str, set[str]]:
    """Modules that the Python files below `folders` import anywhere, but for the standard library's and our own -> the
    distributions that bring them.
    """
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    own = {"equimodal", *(file.stem for file in files), *(path.name for folder in folders for path in folder.iterdir())}
    modules = {module.partition(".")[0] for file in files for module in _imports(file)}
    homes = packages_distributions()
    return {
        module: {_normal(name) for name in homes.get(module, ())}
        for module in sorted(modules - own - set(sys.stdlib_module_names))
    }


def _imports(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {
        node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level
    }
