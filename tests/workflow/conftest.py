"""Fixtures of the tests that run Snakemake and DVC."""

from pathlib import Path

import pytest

from engine_project import Project, copy_project


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A fresh copy, shared by the tests of a file, which run in order."""
    return copy_project(root, tmp_path_factory.mktemp("copy") / "project")
