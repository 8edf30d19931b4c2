"""Malicious and damaged files of every format that is read: each is refused in one line or read, nothing of it runs,
and no file takes more memory than a limit.

Every try is a call in a forked process with that limit, so that one which ends it is counted, too.
"""

import json
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import made_results
import weight_files
from array_files import write_parquet
from equimodal.datasets.mosi.packaging import read_packaging
from equimodal.datasets.table.sheet import Sheet, read_columns
from equimodal.errors import UserError
from equimodal.features.arrays import open_arrays
from equimodal.features.contract import Place
from equimodal.features.media import MediaError
from equimodal.inference.description import read as read_model
from equimodal.models.state_file import read_resnet
from equimodal.report.result import Result
from equimodal.store import read_json, read_table, write_json, write_tensors
from equimodal.training.checkpoint import Checkpoint
from robustness.tally import HANG, OTHER_BYTES, REFUSED, SURVIVED, TRACEBACK, Tally

pytestmark = pytest.mark.slow

MUTATED = 14  # of each file
MEMORY = 400 << 20  # bytes beyond what the process has
SECONDS = 20
MARK = Path("executed")
Read = Callable[[Path], Any]


def packaging(path: Path) -> Any:
    return read_packaging(path, "datasets.mosi.raw")


def array(path: Path) -> Any:
    key = "x" if path.suffix != ".npy" else None
    return open_arrays(path, key).read(Place(0))


def resnet(path: Path) -> Any:
    return read_resnet(path, 8, (1, 1, 1, 1))


def checkpoint(path: Path) -> Any:
    """The state is looked for by its name."""
    shutil.copyfile(path, path.with_name("state.safetensors"))
    return Checkpoint(path.parent, "key").read()


def table(path: Path) -> Any:
    return read_columns(Sheet.read(path), path.parent, {}, without_files=True)


def whole(folder: Path) -> dict[str, Read]:
    """One good file of each format: name -> what reads it."""
    fields = {
        "text": np.ones((4, 3, 2)),
        "audio": np.ones((4, 3, 2)),
        "vision": np.ones((4, 3, 2), np.float32),
        "labels": np.zeros((4, 1)),
    }
    splits = {name: {**fields, "id": [f"{name}[{row}]" for row in range(4)]} for name in ("train", "valid", "test")}
    for protocol in (0, 2, 5):
        (folder / f"p{protocol}.pkl").write_bytes(pickle.dumps(splits, protocol))
    values = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    np.save(folder / "a.npy", values)
    np.savez(folder / "a.npz", x=values)
    np.savez_compressed(folder / "b.npz", x=values)
    write_parquet(folder / "a.parquet", {"x": values.tolist()})
    write_parquet(folder / "predictions.parquet", {"id": list("abcd"), "probability_x": [0.5] * 4})
    weight_files.write(folder / "a.pth", width=8, layers=(1, 1, 1, 1))
    weight_files.write(folder / "b.safetensors", width=8, layers=(1, 1, 1, 1))
    facts = {"key": "key", "epoch": 1, "history": [{"epoch": 0}], "weights": {}, "selected": {}}
    write_tensors(folder / "checkpoint.safetensors", {"a": torch.arange(9.0)}, facts)
    write_tensors(folder / "model.safetensors", {"a": torch.arange(9.0)}, {"rule": "val", "epoch": 0}, sealed=False)
    (folder / "a.csv").write_text("name,label\n" + "".join(f"{row},{'xy'[row % 2]}\n" for row in range(12)))
    write_json(folder / "result.json", made_results.made().model_dump(mode="json"))
    write_json(folder / "any.json", {"a": [1, {"b": "ü"}]})
    return {
        **dict.fromkeys(("p0.pkl", "p2.pkl", "p5.pkl"), packaging),
        **dict.fromkeys(("a.npy", "a.npz", "b.npz", "a.parquet"), array),
        **dict.fromkeys(("a.pth", "b.safetensors"), resnet),
        "predictions.parquet": read_table,
        "checkpoint.safetensors": checkpoint,
        "model.safetensors": read_model,
        "a.csv": table,
        "result.json": Result.read,
        "any.json": read_json,
    }


class Runs:
    """Makes the mark when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {MARK}",)


def npz_of(path: Path, header: str, megabytes: int, length: int | None = None) -> None:
    """An .npz of zeros that says `header` of them, `length` bytes long."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        file.write(b"\x93NUMPY\x02\x00" + (length or len(header)).to_bytes(4, "little") + header.encode())
        for _ in range(megabytes):
            file.write(bytes(1 << 20))


def header_of(shape: str, kind: str = "<f4") -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}\n"


def tensors_of(header: str, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header.encode() + data


def hostile(folder: Path) -> dict[str, Read]:
    """Files that somebody meant ill with: all are refused."""
    evil = pickle.dumps(Runs(), 2)[2:-1]
    pickles = {
        "call": pickle.dumps(Runs()),
        "deep-call": pickle.dumps({"train": {"id": [Runs()]}}, 0),
        "inst": f"(S'touch {MARK}'\nios\nsystem\n.".encode(),
        "global": "\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0etouch executed\x85R.".encode("latin1"),
        "builtins": b"\x80\x02c__builtin__\neval\nX\x12\x00\x00\x00open('executed','w')\x85R.",
        "build": b"\x80\x02cos\nenviron\n}b.",
        "memo": b"\x80\x02r\xff\xff\xff\x7f.",
        "memo-text": b"Np2147483647\n.",
        "bytes": b"\x80\x04\x8e\x00\x00\x00\x80\x00\x00\x00\x00.",
        "bytearray": b"\x80\x05\x96\x00\x00\x00\x80\x00\x00\x00\x00.",
        "long": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",
        "tuple": b"\x80\x02N" + b"\x85" * 10**6 + b".",
        "tuple-key": b"\x80\x02}N" + b"\x85" * 10**6 + b"Ns.",
        "lists": b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
        "laughs": b"\x80\x02]q\x00K\x01a" + b"".join(b"]q%c(h%ch%ce" % (n, n - 1, n - 1) for n in range(1, 60)) + b".",
        "digits": b"L" + b"9" * 10**6 + b"L\n.",
        "persistent": b"\x80\x02P0\n.",
        "pointer": b"\x80\x02cnumpy._core.multiarray\nscalar\n"
        b"cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85RC\x08AAAAAAAA\x86R.",
        "after-stop": pickle.dumps(1) + evil,
    }
    files: dict[str, tuple[bytes, Read]] = {f"{name}.pkl": (data, packaging) for name, data in pickles.items()}
    files |= {f"{name}.pth": (data, resnet) for name, data in pickles.items()}
    npy = b"\x93NUMPY\x01\x00"
    for name, header in (
        ("negative", header_of("(4, -3, -2)")),
        ("huge", header_of("(4, 1099511627776)")),
        ("overflow", header_of("(4, 9223372036854775807, 9223372036854775807)")),
        ("bool", header_of("(True, 2)")),
        ("objects", header_of("(1,)", "|O")),
        ("record", header_of("(1,)", "|V9")),
        ("code", "__import__('os').system('touch executed')\n"),
        ("tokens", "(("),
        ("nested", "(" * 5000),
    ):
        files[f"{name}.npy"] = npy + len(header).to_bytes(2, "little") + header.encode() + bytes(96), array  # type: ignore[assignment]
    files["pickled.npy"] = pickle.dumps(Runs()), array
    for name, header, data in (
        (
            "overlap",
            '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
            bytes(12),
        ),
        ("far", '{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}', bytes(8)),
        ("shape", '{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}', bytes(8)),
        ("dtype", '{"a":{"dtype":"X","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        ("meta", '{"__metadata__":{"json":"{"}}', b""),
        ("meta-list", '{"__metadata__":{"json":"[1]"}}', b""),
        ("meta-deep", '{"__metadata__":{"json":"' + "[" * 50_000 + '"}}', b""),
        ("nan", '{"__metadata__":{"json":"{\\"epoch\\":NaN}"}}', b""),
        ("list", "[]", b""),
    ):
        for start, call in (("checkpoint", checkpoint), ("model", read_model), ("weights", resnet)):
            files[f"{start}-{name}.safetensors"] = tensors_of(header, data), call
    files["long.safetensors"] = b"\xff" * 8 + b"{}", read_model
    for name, text in (
        ("deep", "[" * 200_000),
        ("objects", '{"a":' * 100_000),
        ("digits", "9" * 10_000),
        ("infinite", '{"dataset": 1e999}'),
        ("list", "[]"),
        ("text", '"x"'),
        ("surrogate", '{"dataset": "\\ud800"}'),
    ):
        files[f"{name}.json"] = text.encode(), Result.read
    files["latin.json"] = b'{"a": "\xff"}', Result.read
    for name, content in (
        ("nul", b"a,b\n\0,1\n"),
        ("utf16", "a,b\n1,2\n".encode("utf-16")),
        ("field", b"a,b\n" + b"x" * 200_000 + b",1\n"),
        ("quote", b'a,b\n"' + b"x" * 300_000),
        ("columns", b"," * 100_000 + b"\n1\n"),
        ("binary", bytes(range(256)) * 40),
    ):
        files[f"{name}.csv"] = content, table
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    calls = {name: call for name, (_, call) in files.items()}
    npz_of(folder / "bomb.npz", header_of("(1, 1073741824)"), 500)
    npz_of(folder / "header.npz", "{", 500, 500 << 20)
    npz_of(folder / "negative.npz", header_of("(4, -3, -2)"), 1)
    npz_of(folder / "overflow.npz", header_of("(1, 4294967296, 4294967296)"), 0)
    npz_of(folder / "objects.npz", header_of("(1,)", "|O"), 0)
    write_parquet(folder / "struct.parquet", {"x": [{"a": 1.0}]})
    write_parquet(folder / "words.parquet", {"x": [["a"]]})
    write_parquet(folder / "deep.parquet", {"x": [[[[1.0]]]]})
    calls |= {path.name: array for path in folder.iterdir() if path.suffix in (".npz", ".parquet")}
    good = weight_files.state(8, (1, 1, 1, 1))
    for number, bias in enumerate(
        (
            good["bn1.bias"].to_sparse(),
            good["bn1.bias"].to("meta"),
            good["bn1.bias"].to(torch.complex64),
            good["bn1.bias"].to(torch.float8_e5m2),
            good["bn1.bias"].to(torch.int32),
            torch.full((8,), float("inf")),
            torch.zeros(1).expand(10**6, 10**6),
            Runs(),
        )
    ):
        torch.save({**good, "bn1.bias": bias}, folder / f"tensor{number}.pth")
        calls[f"tensor{number}.pth"] = resnet
    with zipfile.ZipFile(folder / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps(1))
        archive.writestr("a/data/0", bytes(300 << 20))
    calls["bomb.pth"] = resnet
    save_file({"conv1.weight": torch.zeros(8, 3, 7, 7, dtype=torch.float8_e4m3fn)}, folder / "fp8.safetensors")
    calls["fp8.safetensors"] = resnet
    return calls


def mutated(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    place, length = rng.randrange(len(data)), rng.randrange(1, 60)
    kind = rng.choice(["bits", "bits", "header", "cut", "insert", "repeat", "size", "noise"])
    if kind in ("bits", "header"):
        for _ in range(rng.choice([1, 2, 20])):
            data[rng.randrange(min(len(data), 200) if kind == "header" else len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[place:]
    elif kind == "insert":
        data[place:place] = rng.randbytes(length)
    elif kind == "repeat":
        data[place:place] = bytes(data[place : place + length]) * 9
    elif kind == "size":
        data[place : place + 4] = rng.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)])
    else:
        data[place : place + length] = rng.randbytes(length)
    return bytes(data)


def tried(pipe: Any, tries: list[tuple[Path, Read]]) -> None:
    """Read one file after the other and tell what became of each: nothing, a refusal, or another error."""
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + MEMORY, own + MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for path, read in tries:
        signal.alarm(SECONDS)
        try:
            read(path)
            pipe.send((SURVIVED, ""))
        except (UserError, MediaError) as error:
            pipe.send((REFUSED if "\n" not in str(error) and str(error) else TRACEBACK, str(error)))
        except BaseException as error:
            pipe.send((TRACEBACK, f"{type(error).__name__}: {error}"))


def outcomes(tries: list[tuple[Path, Read]]) -> list[tuple[str, str]]:
    """What became of each; the process that a try ends is replaced for the next."""
    context = multiprocessing.get_context("fork")
    found: list[tuple[str, str]] = []
    while len(found) < len(tries):
        ours, theirs = context.Pipe(False)
        process = context.Process(target=tried, args=(theirs, tries[len(found) :]))
        process.start()
        theirs.close()
        try:
            while True:
                found.append(ours.recv())
        except EOFError:
            process.join()
        if len(found) < len(tries):
            late = process.exitcode == -signal.SIGALRM
            found.append((HANG if late else TRACEBACK, f"the process ended with {process.exitcode}"))
    return found


def test_files_are_read_or_refused_and_nothing_of_them_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: random.Random, tally: Tally
) -> None:
    monkeypatch.chdir(tmp_path)
    good, bad, random_ones = (tmp_path / name for name in ("good", "bad", "random"))
    for folder in (good, bad, random_ones):
        folder.mkdir()
    calls = whole(good)
    tries = [(good / name, call) for name, call in calls.items()]
    refused = [(bad / name, call) for name, call in hostile(bad).items()]
    free = []
    for name, call in calls.items():
        content = (good / name).read_bytes()
        for number in range(MUTATED):
            path = random_ones / f"{number}-{name}"
            path.write_bytes(mutated(content, rng))
            if path.read_bytes() != content:
                free.append((path, call))
    everything = [*tries, *refused, *free]
    for place, ((path, call), (outcome, said)) in enumerate(zip(everything, outcomes(everything), strict=True)):
        must_be = SURVIVED if place < len(tries) else REFUSED if place < len(tries) + len(refused) else None
        if call is checkpoint and place >= len(tries):
            must_be = REFUSED
        if path.name == "model.safetensors" or must_be is None or outcome in (must_be, HANG, TRACEBACK):
            tally.add(outcome, f"{path.parent.name}/{path.name}: {said}")
        else:
            tally.add(OTHER_BYTES, f"{path.parent.name}/{path.name} is not {must_be}: {said}")
    assert not MARK.exists(), "a file was executed"
    assert json.loads((good / "any.json").read_text())
