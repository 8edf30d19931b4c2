"""Plain data come back from every pickle protocol; everything else is refused, and nothing runs."""

import builtins
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equimodal import pickle_program
from equimodal.datasets.mosi.plain_pickle import load_plain
from equimodal.errors import UserError

PLAIN: dict[str, Any] = {
    "floats": np.random.default_rng(0).normal(size=(2, 3, 4)),
    "fortran": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
    "words": np.array(["a", "bc", "ü"]),
    "bytes": np.array([b"a", b"bc"]),
    "swapped": np.arange(3, dtype=">i2"),
    "empty": np.zeros((0, 3)),
    "flags": np.array([True, False]),
    "objects": np.array(["x", b"y", 3, None], dtype=object),
    "ragged": np.array([np.arange(2), np.arange(3)], dtype=object),
    "list": [1, 2.5, None, True, ("t", b"", b"\xff"), 1 << 80],
    "scalars": [np.float32(1.5), np.int64(-3), np.str_("ü"), np.bool_(True)],
}


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, np.ndarray) and wanted.dtype == object:
        return found.dtype == object and all(same(a, b) for a, b in zip(found, wanted, strict=True))
    if isinstance(wanted, np.ndarray):
        return found.dtype == wanted.dtype and found.shape == wanted.shape and bool((found == wanted).all())
    return bool(found == wanted)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(PLAIN, protocol))
    found = load_plain(tmp_path / "a.pkl", "")
    assert found.keys() == PLAIN.keys()
    assert [name for name in PLAIN if not same(found[name], PLAIN[name])] == []


@pytest.mark.parametrize("core", ["core", "_core"])
def test_module_names_of_both_numpys(tmp_path: Path, core: str) -> None:
    content = pickle.dumps(PLAIN["floats"], 2).replace(b"numpy._core.multiarray", f"numpy.{core}.multiarray".encode())
    (tmp_path / "a.pkl").write_bytes(content)
    assert same(load_plain(tmp_path / "a.pkl", ""), PLAIN["floats"])


def test_a_python_2_pickle(tmp_path: Path) -> None:
    """As Python 2 and NumPy 1 wrote np.array([1.5, -2.0]) in {'a': ...} by protocol 2: text in the place of bytes."""
    raw = np.array([1.5, -2.0]).tobytes()
    content = (
        b"\x80\x02}q\x00U\x01aq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04U\x01bq\x05\x87q\x06Rq\x07"
        b"(K\x01K\x02\x85q\x08cnumpy\ndtype\nq\tU\x02f8q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01<q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb"
        b"\x89U\x10" + raw + b"tq\x0fbs."
    )
    (tmp_path / "a.pkl").write_bytes(content)
    assert load_plain(tmp_path / "a.pkl", "")["a"].tolist() == [1.5, -2.0]


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


HIDING = [
    lambda bad: bad,
    lambda bad: {"train": {"id": [bad]}},
    lambda bad: np.array([bad, 1], dtype=object),
    lambda bad: Calls(len, bad),
]


def refused(folder: Path, content: bytes, words: str = "") -> None:
    (folder / "bad.pkl").write_bytes(content)
    with pytest.raises(UserError, match=words or "was not loaded") as caught:
        load_plain(folder / "bad.pkl", "get another")
    assert "\n" not in str(caught.value) and str(caught.value).endswith("get another")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "wrap",
    [
        lambda bad: bad,
        lambda bad: {"train": {"id": [bad]}},
        lambda bad: np.array([bad, 1], dtype=object),
        lambda bad: Calls(len, bad),
    ],
)
@pytest.mark.parametrize("function", [os.system, builtins.eval, builtins.exec, os.mkdir])
def test_calls_are_refused_wherever_they_hide(tmp_path: Path, protocol: int, wrap: Any, function: Any) -> None:
    mark = tmp_path / "executed"
    argument = {os.system: f"touch {mark}", os.mkdir: str(mark)}.get(function, f"open({str(mark)!r}, 'w')")
    refused(tmp_path, pickle.dumps(wrap(Calls(function, argument)), protocol))
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",  # the opcode INST
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",  # STACK_GLOBAL
        b"\x80\x02c_codecs\nencode\nX\x04\x00\x00\x00utf8X\x05\x00\x00\x00rot13\x86R.",  # another encoding than latin1
        b"\x80\x02c_codecs\nencode\n}X\x08\x00\x00\x00__call__cnumpy\ndtype\nsb.",  # a state for one of the words
        b"\x80\x02cnumpy\nndarray\nN\x85b.",
        b"\x80\x02cnumpy\nndarray\nK\x05\x85R.",  # a call of what is no function here
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # NEWOBJ
        b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00V\x85R.",
        # a pointer for an object
        b"\x80\x02cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\x00\x00\x00O8\x85RC\x08AAAAAAAA\x86R.",
        b"\x80\x02cnumpy\nload\n.",
        b"\x80\x02csubprocess\nPopen\n.",
        b"\x80\x02P0\n.",  # persistent id
        b"\x82\x01.",  # extension registry
    ],
)
def test_handwritten_attacks_are_refused(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, content, "was not loaded|not a readable pickle")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros(2, dtype=[("a", "f4")]), "type 'V4'"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "type 'M8'"),
        (np.ma.masked_array([1.0], [True]), "names numpy.ma"),
        (Path("x"), "names pathlib"),
        (complex(1, 2), "names builtins.complex|names __builtin__.complex"),
    ],
)
def test_other_types_are_refused_by_name(tmp_path: Path, value: Any, words: str) -> None:
    refused(tmp_path, pickle.dumps({"a": value}, 2), words)


def test_an_array_of_objects_cannot_be_made_of_bytes(tmp_path: Path) -> None:
    """Bytes in the place of the objects would be taken for pointers by NumPy."""
    content = pickle.dumps(np.array([1, 2], dtype=object), 2)
    start = content.index(b"]q", content.index(b"tq"))  # the list of objects
    end = content.index(b"e", start)
    refused(tmp_path, content[:start] + b"C\x10" + bytes(16) + content[end + 1 :], "objects without them")


def test_a_content_of_another_length_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps(np.arange(4.0), 4)
    refused(tmp_path, content.replace(b"K\x04\x85", b"K\x09\x85"), "content of another length")


def test_a_container_that_holds_itself_is_refused(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    refused(tmp_path, pickle.dumps(loop), "holds itself")


def doubled(times: int) -> bytes:
    """A list of a list twice, of a list twice, ..., each in the memo before it is filled."""
    levels = b"".join(b"]q%c(h%ch%ce" % (n, n - 1, n - 1) for n in range(1, times))
    return b"\x80\x02]q\x00K\x01a" + levels + b"."


ONES = b"X\x00\x04\x00\x00" + b"1" * 1024  # a text of 1 KB


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x02r\xff\xff\xff\x7f.", "it asks for place 2147483647 of the memo after 1 instructions"),
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "it asks for place 2147483647 of the memo after 2 instructions"),
        (b"Np2147483647\n.", "it asks for place 2147483647 of the memo"),
        (b"\x80\x04\x8e\xff\xff\xff\x7f\x00\x00\x00\x00.", "it asks for 2147483647 bytes where 1 are left"),
        (b"\x80\x05\x96\xff\xff\xff\x7f\x00\x00\x00\x00.", "it asks for 2147483647 bytes where 1 are left"),
        (b"\x80\x02}N" + b"\x85" * 10**6 + b"Ns.", "more than 200 deep"),  # as a key, which is hashed
        (b"\x80\x02N" + b"\x85" * 199 + b".", "more than 40 deep"),
        (doubled(30), "name the same ones again and again"),
        (
            b"\x80\x02c_codecs\nencode\nq\x00"
            + ONES
            + b"q\x010"
            + b"h\x00h\x01X\x06\x00\x00\x00latin1\x86R0" * 9
            + b"N.",
            "it makes more than 4 copies",
        ),
        (
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01J\xff\xff\xff\x7f\x85"
            b"cnumpy\ndtype\nX\x02\x00\x00\x00S0\x85R\x89C\x00tb.",
            r"an array \[2147483647\] of nothing",
        ),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_what_asks_for_more_than_it_holds_is_refused_before_it_is_given(
    tmp_path: Path, content: bytes, words: str
) -> None:
    tracemalloc.start()
    try:
        refused(tmp_path, content, words)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_more_instructions_than_any_packaging_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_program, "OPCODES", 50)
    refused(tmp_path, b"\x80\x02" + b"N0" * 25 + b"N.", "it has more than 50 instructions")


def test_a_long_list_is_filled_in_many_goes_and_not_deep(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02]" + b"(K\x01e" * 300 + b".")
    assert load_plain(tmp_path / "a.pkl", "") == [1] * 300


def test_shared_parts_are_fine(tmp_path: Path) -> None:
    shared = ["a", "b"] * 50
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"x": [shared] * 20}))
    assert load_plain(tmp_path / "a.pkl", "")["x"] == [shared] * 20


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x04", b"PK\x03\x04zip", pickle.dumps(PLAIN)[:-100]])
def test_what_is_no_pickle_or_cut_off_is_one_line(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, content, "is not a readable pickle")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_plain(tmp_path / "none.pkl", "")
