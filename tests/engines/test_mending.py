"""What a killed DVC leaves half written is made readable, and nothing else is touched."""

import json
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from equimodal.engines.mending import mend_dvc

FILES = [{"path": f"data/{name}", "hash": "md5", "md5": "0" * 32, "size": 12} for name in ("a", "b", "c")]
STAGES = {f"train@cremad-joint-{i}": {"cmd": f"equimodal train {i}", "deps": FILES, "outs": FILES} for i in range(9)}
WHOLE = yaml.safe_dump({"schema": "2.0", "stages": json.loads(json.dumps(STAGES))}, sort_keys=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    return tmp_path


def test_a_lock_file_is_cut_back_to_whole_stages(root: Path) -> None:
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA

    path = root / "dvc.lock"
    kept = set()
    for length in range(0, len(WHOLE), 97):
        path.write_text(WHOLE[:length])
        mend_dvc(root, root)
        if not path.exists():
            assert length < len(WHOLE) / len(STAGES)
            continue
        found = yaml.safe_load(path.read_text())
        COMPILED_LOCKFILE_SCHEMA(found)
        whole = [name for name, stage in found["stages"].items() if stage == STAGES[name]]
        assert len(found["stages"]) - len(whole) <= 1, "the last may lack files: DVC takes it for changed"
        assert len(whole) >= length * len(STAGES) // len(WHOLE) - 1
        kept.add(len(whole))
    assert len(kept) > 5


def test_what_can_be_read_stays_as_it_is(root: Path) -> None:
    (root / "dvc.lock").write_text(WHOLE)
    (root / ".dvc/tmp/rwlock").write_text('{"read": {}}')
    mend_dvc(root, root)
    assert (root / "dvc.lock").read_text() == WHOLE
    assert (root / ".dvc/tmp/rwlock").read_text() == '{"read": {}}'


@pytest.mark.parametrize("text", ["", '{"read": {"x": [{"pid": 1', "[]"])
def test_a_half_written_list_of_locks_is_removed(text: str, root: Path) -> None:
    (root / ".dvc/tmp/rwlock").write_text(text)
    mend_dvc(root, root)
    assert not (root / ".dvc/tmp/rwlock").exists()


def test_nothing_is_touched_while_a_dvc_works(root: Path) -> None:
    (root / "dvc.lock").write_text("half")
    (root / ".dvc/tmp/rwlock").write_text("")
    with FileLock(root / ".dvc/tmp/lock"):
        mend_dvc(root, root)
        assert (root / "dvc.lock").read_text() == "half" and (root / ".dvc/tmp/rwlock").exists()
    mend_dvc(root, root)
    assert not (root / "dvc.lock").exists()


def test_a_folder_without_dvc_is_left_alone(tmp_path: Path) -> None:
    mend_dvc(tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []
