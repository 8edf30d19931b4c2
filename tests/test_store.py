"""Files are written whole or not at all, the same content gives the same bytes, and a full disk is one line."""

import errno
import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equimodal import store
from equimodal.errors import UserError


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_json_is_canonical(tmp_path: Path) -> None:
    store.write_json(tmp_path / "a.json", {"b": 0.1, "a": [1, 1e-9], "é": None})
    store.write_json(tmp_path / "b.json", {"é": None, "a": [1, 1e-9], "b": 0.1})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.json").read_text(encoding="utf-8")
    assert list(json.loads(text)) == ["a", "b", "é"] and "é" in text and "1e-09" in text and text.endswith("}\n")
    assert store.read_json(tmp_path / "a.json") == {"a": [1, 1e-9], "b": 0.1, "é": None}
    assert store.digest({"a": 1, "b": 2}) == store.digest({"b": 2, "a": 1}) != store.digest({"a": 2, "b": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_refuses_nan_and_keeps_the_old_file(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.json"
    store.write_json(path, {"x": 1})
    with pytest.raises(ValueError, match="JSON"):
        store.write_json(path, {"x": value})
    assert store.read_json(path) == {"x": 1} and listing(tmp_path) == ["a.json"]
    assert store.finite_or_none(value) is None and store.finite_or_none(0.5) == 0.5


def test_atomic_leaves_everything_as_it_was_on_failure(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), store.atomic(path) as scratch:
        assert scratch.name == path.name
        scratch.write_bytes(b"half")
        raise RuntimeError("killed")
    assert path.read_bytes() == b"old" and listing(tmp_path) == ["weights.bin"]


def test_atomic_replaces_folders(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with store.atomic(tmp_path / "figures") as scratch:
            scratch.mkdir()
            (scratch / content).touch()
    assert listing(tmp_path) == ["figures"] and listing(tmp_path / "figures") == ["two"]


def test_leftovers_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys, signal; from equimodal.store import atomic\nwith atomic('a.json') as f:"
        " f.write_text('x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    [left] = listing(tmp_path)
    assert left.startswith(".a.json.")
    alive = tmp_path / f".a.json.{os.getpid()}.busy"  # of a writer that lives
    other = tmp_path / ".a.json.bak.1"  # not ours
    alive.mkdir()
    other.mkdir()
    store.write_json(tmp_path / "a.json", 1)
    assert listing(tmp_path) == sorted([other.name, alive.name, "a.json"])


def test_broken_and_missing_files_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "broken.safetensors").write_bytes(b"not tensors")
    for call, name in [
        (store.read_json, "absent.json"),
        (store.read_json, "broken.json"),
        (store.read_tensors, "absent.safetensors"),
        (store.read_tensors, "broken.safetensors"),
        (store.open_array, "absent.npy"),
    ]:
        with pytest.raises(UserError, match=name) as caught:
            call(tmp_path / name)  # type: ignore[operator]
        assert "\n" not in str(caught.value)


def test_tensors_have_the_same_bytes_and_come_back(tmp_path: Path) -> None:
    shared = torch.arange(6.0).view(2, 3)
    tensors = {
        "b": shared.T,
        "a": shared,
        "c": torch.tensor(7),
        "d": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    meta = {"y": 1, "x": {"k": [0.1]}, "w": None}
    store.write_tensors(tmp_path / "one.safetensors", tensors, meta)
    store.write_tensors(tmp_path / "two.safetensors", dict(reversed(tensors.items())), dict(reversed(meta.items())))
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    back, read = store.read_tensors(tmp_path / "one.safetensors")
    assert read == meta and back.keys() == tensors.keys()
    assert all(torch.equal(back[name], value) and back[name].dtype == value.dtype for name, value in tensors.items())


def sealed(path: Path) -> bytes:
    """A file of weights; its content."""
    store.write_tensors(path, {"a": torch.arange(8.0)}, {"epoch": 3, "name": '"seal":"' + "0" * 64})
    return path.read_bytes()


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    whole = sealed(path)
    assert store.read_tensors(path, sealed=True)[1] == {"epoch": 3, "name": '"seal":"' + "0" * 64}
    for bit in range(0, 8 * len(whole), 7):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.safetensors is (damaged|not a readable)") as caught:
            store.read_tensors(path, sealed=True)
        assert "\n" not in str(caught.value)


def test_a_changed_fact_is_noticed_and_so_is_a_seal_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    whole = sealed(path)
    path.write_bytes(whole.replace(b'epoch\\":3', b'epoch\\":4'))
    with pytest.raises(UserError, match="is damaged, its content is not what its checksum says"):
        store.read_tensors(path)
    path.write_bytes(whole.replace(b"seal", b"leaf"))
    store.read_tensors(path)  # as an older version wrote it
    with pytest.raises(UserError, match="is damaged"):
        store.read_tensors(path, sealed=True)


def test_a_checksum_that_another_file_holds_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "val.safetensors"
    found = store.write_tensors(path, {"a": torch.arange(8.0)}, {"epoch": 3}, sealed=False)
    assert found == store.file_sha256(path) and store.stated_sha256(path) is None
    assert store.read_tensors(path, found)[1] == {"epoch": 3}
    for name, key in (("config.json", "files"), ("curves.json", "weights")):
        store.write_json(tmp_path / name, {key: {"val.safetensors": found + key}})
        assert store.stated_sha256(path) == found + key
    with pytest.raises(UserError, match=r"val\.safetensors is damaged"):
        store.read_tensors(path, store.stated_sha256(path))
    for other in ([], {"weights": []}, {"weights": {"last.safetensors": "0"}}):
        store.write_json(tmp_path / "curves.json", other)
        assert store.stated_sha256(path) == found + "files"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (9,), }",
        b"\x93NUMPY\x01\x00\x02\x00((",
        b"\x93NUMPY\x01\x00\x3c\x00{'descr': 'O', 'fortran_order': False, 'shape': (1,), }      \n" + bytes(8),
    ],
    ids=["empty", "cut off", "no header", "objects"],
)
def test_a_damaged_array_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npy is no readable array \(.*delete it and build it again") as caught:
        store.open_array(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)


def test_a_folder_and_json_without_end_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    (tmp_path / "a.safetensors").mkdir()
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "b.json").write_text("[" * 100_000)
    (tmp_path / "c.json").write_text("9" * 5000)
    for call, name, said in [
        (store.read_json, "a.json", "is a folder, not a file"),
        (store.read_json, "fifo.json", "is a pipe"),
        (store.read_tensors, "fifo.json", "is a pipe"),
        (store.open_array, "fifo.json", "is a pipe"),
        (store.read_table, "fifo.json", "is a pipe"),
        (store.read_json, "b.json", "is not valid JSON"),
        (store.read_json, "c.json", "is not valid JSON"),
        (store.read_tensors, "a.safetensors", "is a folder, not a file"),
    ]:
        with pytest.raises(UserError, match=rf"{name} {said}"):
            call(tmp_path / name)  # type: ignore[operator]


def test_arrays_appear_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.npy"
    with pytest.raises(RuntimeError), store.array_writer(path, (2, 3), "uint8") as array:
        raise RuntimeError("killed")
    assert not path.exists()
    with store.array_writer(path, (2, 3), "uint8") as array:
        array[:] = 5
        assert not path.exists()
    read = store.open_array(path)
    assert read.dtype == np.uint8 and (read == 5).all() and not read.flags.writeable
    assert store.file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["json", "tensors", "array"])
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "out"
    path.write_bytes(b"old")
    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"no space left while writing .*out"):
        if kind == "json":
            store.write_json(path, {})
        elif kind == "tensors":
            store.write_tensors(path, {"a": torch.zeros(1)}, {})
        else:
            with store.array_writer(path, (1,), "uint8"):
                pass
    assert path.read_bytes() == b"old" and listing(tmp_path) == ["out"]


def test_a_read_only_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(store.tempfile, "mkdtemp", refused)
    with pytest.raises(UserError, match=r"cannot write .*permissions"):
        store.write_json(tmp_path / "a.json", {})


@pytest.mark.parametrize("below", ["a.json", "deep/a.json"])
def test_a_file_where_a_folder_belongs_is_one_line(tmp_path: Path, below: str) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(UserError, match=r"cannot write .*a\.json: a file stands where a folder of that path belongs"):
        store.write_json(tmp_path / "data" / below, {})


def test_other_errors_are_not_disguised(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), store.atomic(tmp_path / "a"):
        raise IsADirectoryError
