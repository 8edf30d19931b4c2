"""Code files per stage: exact enough that an edit reruns what it can change, and nothing else."""

from pathlib import Path

import grimp
import pytest

from equimodal.engines import closure, declarations
from equimodal.engines.closure import code_files
from equimodal.errors import UserError
from equimodal.params import Params, load_params

MODEL_STAGES = ("warmup", "prototypes", "train", "evaluate")


@pytest.fixture(scope="module")
def params(root: Path) -> Params:
    return load_params(root / "params.yaml")


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
    """A package `equimodal` in `folder` made of `files` (name__in__folders=text),
    which the closure reads instead of ours.
    """
    for name, text in files.items():
        path = folder.joinpath("equimodal", *name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(closure, "SOURCE", folder)


def test_follows_every_form_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(
        tmp_path,
        monkeypatch,
        a="import equimodal.b\nfrom equimodal import c\nfrom equimodal.d import thing\nfrom equimodal.e"
        " import f\ndef late():\n    from equimodal.g import x\n",
        b="",
        c="",
        d="thing = 1",
        e__f="from . import h\nfrom .. import i\n",
        e__h="",
        g="",
        i="",
        unrelated="",
    )
    (tmp_path / "equimodal/e/__init__.py").write_text("from equimodal import j")
    (tmp_path / "equimodal/j.py").write_text("")
    names = ["a", "b", "c", "d", "e/__init__", "e/f", "e/h", "g", "i", "j"]
    assert code_files("equimodal.a") == tuple(f"equimodal/{name}.py" for name in names)


def test_the_package_of_the_module_itself_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch, methods__mine__method="", b="")
    (tmp_path / "equimodal/methods/mine/__init__.py").write_text("import equimodal.b")
    names = ["b", "methods/mine/__init__", "methods/mine/method"]
    assert code_files("equimodal.methods.mine.method") == tuple(f"equimodal/{name}.py" for name in names)


def test_leaves_out_what_cannot_change_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "from typing import TYPE_CHECKING\nimport os, equimodal\nfrom equimodal import cli, settings,"
        " tracking\nfrom equimodal.engines import locks\nfrom equimodal.settings.base import x\nfrom"
        " equimodal.methods.own.settings import y\n"
    )
    package(
        tmp_path,
        monkeypatch,
        a=text + "if TYPE_CHECKING:\n    from equimodal import typed\nelse:\n    from equimodal import b\n",
        b="import equimodal.a",
        typed="",
        engines__locks="",
        methods__own__settings="",
        cli="",
        settings__base="",
        tracking="",
    )
    (tmp_path / "equimodal/__init__.py").write_text("from equimodal import typed")
    assert code_files("equimodal.a") == ("equimodal/a.py", "equimodal/b.py")


def test_only_a_test_for_type_checking_itself_hides_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(
        tmp_path,
        monkeypatch,
        a="import typing\nif typing.TYPE_CHECKING:\n    from equimodal import typed\n"
        "elif x:\n    from equimodal import b\nif not typing.TYPE_CHECKING:\n    from equimodal import c\n",
        b="",
        c="",
        typed="",
    )
    assert code_files("equimodal.a") == tuple(f"equimodal/{name}.py" for name in "abc")


@pytest.mark.parametrize(
    "text",
    [
        "if x:\n    pass\nelse:\n    import equimodal.b",
        "try:\n    pass\nexcept OSError:\n    import equimodal.b",
        "try:\n    pass\nexcept* OSError:\n    import equimodal.b",
        "try:\n    pass\nfinally:\n    import equimodal.b",
        "for x in y:\n    pass\nelse:\n    import equimodal.b",
        "while x:\n    import equimodal.b",
        "with x:\n    import equimodal.b",
        "match x:\n    case 1:\n        import equimodal.b",
        "class X:\n    async def f(self):\n        async with x:\n            import equimodal.b",
    ],
)
def test_imports_count_in_every_statement_that_holds_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    package(tmp_path, monkeypatch, a=text, b="")
    assert code_files("equimodal.a") == ("equimodal/a.py", "equimodal/b.py")


def test_a_module_without_a_file_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"equimodal\.nowhere"):
        code_files("equimodal.nowhere")


def test_a_file_that_is_not_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch, a="x = 1\ndef (")
    with pytest.raises(UserError, match=r"equimodal/a\.py, line 2: invalid syntax"):
        code_files("equimodal.a")


def test_a_half_written_file_stops_no_stage_that_does_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, monkeypatch, a="", methods__mine="def (")
    assert code_files("equimodal.a") == ("equimodal/a.py",)


def test_grimp_finds_the_same_files(root: Path) -> None:
    graph = grimp.build_graph("equimodal", cache_dir=None, exclude_type_checking_imports=True)
    for stage in sorted(graph.find_children("equimodal.stages")):
        found: set[str] = set()
        waiting = {stage, "equimodal.stages"}
        while waiting:
            module = waiting.pop()
            found.add(module)
            imported = graph.find_modules_directly_imported_by(module)
            packages = {name for child in imported for name in _packages(child)}
            waiting |= {name for name in imported | packages if not closure._excluded(name)} - {"equimodal"} - found
        files = {_file_of(root / "src", module).relative_to(root / "src").as_posix() for module in found}
        assert set(code_files(stage)) == files, stage


def _packages(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(2, len(parts))]


def _file_of(source: Path, module: str) -> Path:
    base = source.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def test_files_exist_and_include_the_stage(root: Path, params: Params) -> None:
    for stage in declarations.STAGES:
        for method in declarations.study_methods(params, stage):
            files = declarations.code(params, stage, "cremad", method)
            assert f"equimodal/stages/{stage}.py" in files
            assert all((root / "src" / file).is_file() for file in files)


def test_a_method_s_file_belongs_to_its_own_training_only(params: Params) -> None:
    for method in declarations.study_methods(params):
        for stage in ("train", "evaluate"):
            files = declarations.code(params, stage, "cremad", method)
            kind = params.method("cremad", str(method)).kind
            assert ("equimodal/methods/joint_uni/method.py" in files) == (kind == "joint-uni"), (stage, method)
            assert ("equimodal/methods/unimodal/method.py" in files) == (kind == "unimodal"), (stage, method)
            assert ("equimodal/methods/aim/modulation.py" in files) == (kind == "aim"), (stage, method)


def test_no_stage_before_training_depends_on_training_code(params: Params) -> None:
    for stage in ("raw", "index", "features", "manifest"):
        files = declarations.code(params, stage, "cremad")
        assert not [
            file for file in files if file.startswith(("equimodal/training", "equimodal/methods", "equimodal/models"))
        ], stage


def test_warm_up_does_not_depend_on_aim(params: Params) -> None:
    files = declarations.code(params, "warmup", "cremad", "aim")
    assert "equimodal/training/loop.py" in files
    assert not [file for file in files if "/aim/" in file]
