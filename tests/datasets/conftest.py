"""A project folder to build datasets in."""

from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, the current one during the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
