"""The SQLite file without mlflow: locks and broken files."""

import sqlite3
from pathlib import Path

import pytest

from equimodal.tracking import database
from equimodal.tracking.info import sqlite_file


def test_a_database_that_another_program_holds_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    path = tmp_path / "mlflow.db"
    holder = sqlite3.connect(path)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RuntimeError, match="locked"):
        database.prepare(f"sqlite:///{path}")
    holder.rollback()
    database.prepare(f"sqlite:///{path}")
    holder.close()
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_lock_may_be_taken_again_by_its_holder(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with database.locked(uri), database.locked(uri):
        pass


def test_only_sqlite_has_a_file() -> None:
    assert sqlite_file("http://host:5000") is None
    assert sqlite_file("sqlite:////abs/x.db") == Path("/abs/x.db") and sqlite_file("sqlite:///x.db") == Path("x.db")
