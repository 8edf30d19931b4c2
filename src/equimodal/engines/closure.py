"""Which files of the package a module is made of, read from its import statements without importing anything.

The engines see commands, not Python imports: an edited function would rerun nothing. So every stage declares what its
code files contain, and this module finds them. Left out is what cannot change a stage's output: the command line,
tracking, locks, and the settings models, whose resolved values are declared beside the code.

Not by grimp (3.20), which parses the package as a whole: a half-written file of one method would stop every stage of a
running study, and a folder without `__init__.py` is left out in silence. CPU, all stages: 0.11 s with it, 0.25 s here;
one stage, as every job needs: 0.11 s with it, 0.04 s (index) to 0.10 s (train with AIM) here.
"""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from equimodal.errors import UserError
from equimodal.store import file_sha256

PACKAGE = "equimodal"
SOURCE = Path(__file__).resolve().parents[2]  # the folder that holds the package, of a checkout or an environment
EXCLUDED = (
    "equimodal.cli",
    "equimodal.datasets.registry",  # names every kind: a dataset's own kind is added by name instead
    "equimodal.engines",
    "equimodal.errors",
    "equimodal.methods.registry",  # names every method: a stage's own method is added by name instead
    "equimodal.models.registry",  # names every encoder: a dataset's own are added by name instead
    "equimodal.params",
    "equimodal.settings",
    "equimodal.tracking",
)
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # where statements hold statements


@cache
def code_files(*modules: str) -> tuple[str, ...]:
    """Files that `modules` and everything they import from the package consist of, sorted,
    relative to the folder that holds the package, whose name is their first part.

    Imports inside functions count; imports under `if TYPE_CHECKING:` and the package's own `__init__.py` (names for
    library users) do not.

    Raises:
        ModuleNotFoundError: a module of the package that has no file.
        UserError: a file that is not valid Python.
    """
    return tuple(sorted(str(path.relative_to(SOURCE)) for path in _reachable(modules)))


def contents(files: Iterable[str]) -> dict[str, str]:
    """{file: sha256} of files as `code_files` names them. A process reads each once: the jobs that Snakemake plans
    share most of their files.
    """
    return {file: _sha256(SOURCE / file) for file in files}


_sha256 = cache(file_sha256)


def _reachable(modules: tuple[str, ...]) -> set[Path]:
    found: set[Path] = set()
    waiting = [name for module in modules for name in _with_packages(module)]
    for module in modules:
        if _file(module) is None:
            raise ModuleNotFoundError(f"{module} has no file below {SOURCE}", name=module)
    while waiting:
        path = _file(waiting.pop())
        if path is not None and path not in found:
            found.add(path)
            waiting.extend(_imports(path))
    return found


@cache
def _file(module: str) -> Path | None:
    """The file of a module; None for what is not a module (a name imported from one)."""
    base = SOURCE.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _imports(path: Path) -> frozenset[str]:
    """Modules of the package that one file imports, parents included, exclusions left out."""
    names: set[str] = set()
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        raise UserError(
            f"{path}, line {error.lineno}: {error.msg}; no stage can be planned until this file is valid Python"
        ) from None
    for node in _live_statements(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, path)
            names.add(source)
            names.update(f"{source}.{alias.name}" for alias in node.names)
    wanted = {part for name in names if name.startswith(PACKAGE + ".") for part in _with_packages(name)}
    return frozenset(name for name in wanted if not _excluded(name) and _file(name) is not None)


def _with_packages(module: str) -> list[str]:
    """Importing a.b.c runs a/b/__init__.py too; the top package's own __init__ only re-exports."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(2, len(parts) + 1)]


def _live_statements(tree: ast.Module) -> list[ast.AST]:
    """All statements but those under `if TYPE_CHECKING:`, which never run. Imports are never inside an expression, so
    those are not walked, which took a third of the time.
    """
    statements: list[ast.AST] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        statements.append(node)
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for block in ("orelse",) if typing_only else BLOCKS:
            waiting.extend(getattr(node, block, ()))
    return statements


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    if not node.level:
        return node.module or ""
    parts = list(path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join([*parts[: len(parts) - node.level], *([node.module] if node.module else [])])


def _excluded(module: str) -> bool:
    # Settings models: their resolved values are declared beside the code.
    if module.rpartition(".")[2] == "settings":
        return True
    return any(module == name or module.startswith(name + ".") for name in EXCLUDED)
