"""Which files of the package a module is made of, read from its import statements without importing anything.

The engines see commands, not Python imports: an edited function would rerun nothing. So every stage declares its code
files as inputs, and this module finds them. Left out is what cannot change a stage's output: the command line,
tracking, locks, and the settings models, whose resolved values are declared beside the code.
"""

import ast
from functools import cache
from pathlib import Path

from equimodal.errors import UserError

PACKAGE = "equimodal"
SOURCE = Path(__file__).resolve().parents[2]
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


def code_files(*modules: str) -> list[str]:
    """Files that `modules` and everything they import from the package consist of, sorted,
    relative to the project's root.

    Imports inside functions count; imports under `if TYPE_CHECKING:` and the package's own `__init__.py` (names for
    library users) do not.

    Raises:
        ModuleNotFoundError: a module of the package that has no file.
        UserError: a file that is not valid Python.
    """
    return sorted(str(Path("src") / path.relative_to(SOURCE)) for path in _reachable(modules))


def _reachable(modules: tuple[str, ...]) -> set[Path]:
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        path = _file(name := waiting.pop())
        if path is None:
            raise ModuleNotFoundError(f"{name} has no file below {SOURCE}", name=name)
        if path not in found:
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
    for node in _live_nodes(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, path)
            names.add(source)
            names.update(f"{source}.{alias.name}" for alias in node.names)
    wanted: set[str] = set()
    for name in names:
        parts = name.split(".")
        # Importing a.b.c runs a/b/__init__.py too; the top package's own __init__ only re-exports.
        wanted.update(".".join(parts[:end]) for end in range(2, len(parts) + 1))
    return frozenset(n for n in wanted if n.startswith(PACKAGE + ".") and not _excluded(n) and _file(n) is not None)


def _live_nodes(tree: ast.AST) -> list[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`, which never run."""
    nodes: list[ast.AST] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))
    return nodes


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
