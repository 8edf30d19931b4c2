"""Files of arrays: what is read from each format, and the reason that each broken one gets."""

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from array_files import ragged, write_parquet
from equimodal.features.arrays import locate, locator, open_arrays
from equimodal.features.contract import Place
from equimodal.features.media import MediaError, MissingTrackError

VALUES = np.arange(24, dtype=np.float64).reshape(4, 3, 2)


@pytest.mark.parametrize(
    ("path", "file", "place"),
    [
        ("text.npy#12", "text.npy", Place(12)),
        ("a b/text.npz#12:37", "a b/text.npz", Place(12, 37)),
        ("clip#1.npy", "clip#1.npy", Place()),
        ("a#1#2", "a#1", Place(2)),
    ],
)
def test_a_path_may_name_a_row_and_its_steps(path: str, file: str, place: Place) -> None:
    assert locate(path) == (file, place)
    if place.row is not None:
        assert locator(file, place.row, place.steps) == path


def stacked_files(folder: Path) -> list[tuple[Path, str | None]]:
    np.save(folder / "a.npy", VALUES)
    np.savez(folder / "one.npz", VALUES)
    np.savez_compressed(folder / "two.npz", x=VALUES, other=np.ones(3))
    write_parquet(folder / "a.parquet", {"x": VALUES.tolist(), "name": list("abcd")}, group=3)
    return [
        (folder / "a.npy", None),
        (folder / "one.npz", None),
        (folder / "two.npz", "x"),
        (folder / "a.parquet", "x"),
    ]


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    for path, key in stacked_files(tmp_path):
        file = open_arrays(path, key)
        assert file.shape[0] == 4
        for row in (2, 0, 3, 1):  # backwards too
            np.testing.assert_array_equal(file.read(Place(row)), VALUES[row])
        found = file.read(Place(1, 2))
        assert found.dtype == np.float32 and found.tolist() == VALUES[1, :2].tolist()
        with pytest.raises(MediaError, match="row 4 of 4 rows"):
            file.read(Place(4))
        with pytest.raises(MediaError, match="4 steps of 3 steps"):
            file.read(Place(0, 4))


def test_one_array_a_sample(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES[0])
    assert open_arrays(tmp_path / "a.npy", None).read(Place()).tolist() == VALUES[0].tolist()
    np.savez(tmp_path / "a.npz", x=VALUES[0], y=VALUES[1])
    assert open_arrays(tmp_path / "a.npz", "y").read(Place()).tolist() == VALUES[1].tolist()


def test_parquet_rows_may_differ_in_length_and_be_absent(tmp_path: Path) -> None:
    sequences = ragged([2, 5, 1], 3)
    write_parquet(
        tmp_path / "a.parquet",
        {"x": [sequences[0].tolist(), None, sequences[2].tolist(), []], "v": [[1.0, 2.0], [3.0, 4.0], None, []]},
    )
    file = open_arrays(tmp_path / "a.parquet", "x")
    np.testing.assert_allclose(file.read(Place(0)), sequences[0])
    np.testing.assert_allclose(file.read(Place(2)), sequences[2])
    assert file.read(Place(3)).shape == (0, 0)
    with pytest.raises(MissingTrackError, match="nothing in column 'x'"):
        file.read(Place(1))
    assert open_arrays(tmp_path / "a.parquet", "v").read(Place(1)).tolist() == [3, 4]


def npz_of(path: Path, header: str, size: int = 0) -> None:
    """An .npz whose array `x` says `header`, before `size` zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        file.write(b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header.encode())
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))


def header_of(*shape: int) -> str:
    return f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n"


def broken(folder: Path, name: str) -> Path:
    path = folder / name
    if name == "negative.npz":
        npz_of(path, header_of(4, -3, -2), 1 << 20)
    elif name == "bomb.npz":
        npz_of(path, header_of(1, 1 << 20, 1 << 10))
    elif name == "overflow.npz":
        npz_of(path, header_of(1, 1 << 32, 1 << 32))
    elif name == "header.npz":
        npz_of(path, "{" + " " * 20_000)
    elif name == "negative.npy":
        header = header_of(4, -3, -2)
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(96))
    elif name == "syntax.npy":
        path.write_bytes(b"\x93NUMPY\x01\x00\x02\x00((")
    elif name == "struct.parquet":
        write_parquet(path, {"x": [{"a": 1.0}], "words": [["a"]], "deep": [[[[1.0]]]]})
    if name == "text.npy":
        path.write_text("1 2 3")
    elif name == "objects.npy":
        np.save(path, np.array([{}, 1], object), allow_pickle=True)
    elif name == "words.npy":
        np.save(path, np.array(["a", "b"]))
    elif name == "cut.npy":
        np.save(path, VALUES)
        path.write_bytes(path.read_bytes()[:-8])
    elif name == "cut.npz":
        np.savez(path, x=VALUES)
        path.write_bytes(path.read_bytes()[:-80])
    elif name == "fortran.npz":
        np.savez(path, x=np.asfortranarray(VALUES))
    elif name == "many.npz":
        np.savez(path, x=VALUES, y=VALUES)
    elif name in ("no.parquet", "a.csv", "folder.npy"):
        path.mkdir() if name == "folder.npy" else path.write_bytes(b"PAR1 not so")
    elif name == "uneven.parquet":
        write_parquet(path, {"x": [[[1.0], [2.0, 3.0]]]})
    return path


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("lost.npy", None, "no such file"),
        ("folder.npy", None, "is a folder, not a file"),
        ("a.csv", None, r"'.csv' is not one of .npy, .npz, .parquet"),
        ("text.npy", None, "unreadable"),
        ("objects.npy", None, "unreadable|holds object"),
        ("words.npy", None, "holds <U1, not numbers"),
        ("cut.npy", None, "unreadable"),
        ("cut.npz", "x", "unreadable"),
        ("fortran.npz", "x", "Fortran order"),
        ("negative.npz", "x", "unreadable: its shape is "),
        ("negative.npy", None, "unreadable"),
        ("bomb.npz", "x", "one sample is .* 4.3 GB: more than is read at once"),
        ("overflow.npz", "x", "more than is read at once"),
        ("header.npz", "x", "has a header of 20001 bytes"),
        ("syntax.npy", None, "unreadable"),
        ("struct.parquet", "x", "column 'x' holds struct<a: double>, not numbers"),
        ("struct.parquet", "words", "column 'words' holds list<.*string>, not numbers"),
        ("struct.parquet", "deep", "column 'deep' holds list<.*, not numbers"),
        ("many.npz", None, "holds the arrays x, y: set key"),
        ("many.npz", "z", "no array 'z'; it has: x, y"),
        ("cut.npy", "x", "leave out key 'x'"),
        ("no.parquet", "x", "unreadable"),
        ("uneven.parquet", None, "needs key.*it has: x"),
        ("uneven.parquet", "y", "no column 'y'; it has: x"),
        ("uneven.parquet", "x", "steps of 1 to 2 numbers"),
    ],
)
def test_each_broken_file_gets_its_reason(tmp_path: Path, name: str, key: str | None, words: str) -> None:
    path = broken(tmp_path, name)
    with pytest.raises(MediaError, match=words) as caught:
        open_arrays(path, key).read(Place(0))
    assert str(tmp_path) not in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_stream_is_a_reason_not_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=(50, 40)))
    content = bytearray(path.read_bytes())
    content[3000:3100] = bytes(100)
    path.write_bytes(bytes(content))
    file = open_arrays(path, "x")
    with pytest.raises(MediaError, match="unreadable"):
        for row in range(50):
            file.read(Place(row))


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_row_of_a_large_file_costs_a_row_of_memory(tmp_path: Path, name: str) -> None:
    values = np.zeros((2000, 50, 40), np.float32)  # 16 MB
    np.save(tmp_path / name, values) if name == "a.npy" else np.savez_compressed(tmp_path / name, x=values)
    tracemalloc.start()
    file = open_arrays(tmp_path / name, None)
    for row in range(0, 2000, 100):
        file.read(Place(row))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
