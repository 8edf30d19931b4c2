"""Pickles of plain data: containers, text, numbers and NumPy arrays. Everything else is refused, and no code that a
file names is ever called.

A pickle is a program. Here its only words are six stand-ins of our own, which rebuild an array from its bytes without
NumPy's unpickling (whose object arrays and structured types take pointers from the file). Python 2 pickles are read, as
are the module names of NumPy 1 and 2.

Libraries that were looked at in November 2026, and why none reads these files: fickling 0.1.12 judges the instructions
and then lets pickle carry them out; picklescan 1.0.5 searches names and loads nothing; pandas.read_pickle, joblib and
numpy.load(allow_pickle=True) run what the file says; torch.load(weights_only=True) reads torch's own archives alone,
its unpickler is private, and it rebuilds arrays by NumPy's unpickling. None of them limits depth, memo or memory.
"""

import io
import pickle
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from equimodal.errors import UserError
from equimodal.pickle_program import ExcessiveError, check_program

DEPTH = 40  # of nested containers
UNFOLDED = 16  # values for each byte of the file: one that is named again counts again
_PLAIN = re.compile(r"[biufSU]\d+")


class NotPlainError(Exception):
    """What the file holds beside plain data."""


def load_plain(path: Path, advice: str) -> Any:
    """The content of a pickle: dict, list, tuple, set, str, bytes, int, float, bool, None and NumPy arrays of them.

    NumPy scalars come as Python's. Arrays of booleans, integers, floats and text are NumPy arrays, read-only; arrays of
    objects are NumPy arrays of such plain values.

    Args:
        path: the file.
        advice: end of the message if it cannot be read.

    Raises:
        UserError: no such file, no pickle, damaged, or one that holds anything else (what it is);
            nothing of it has been executed.
    """
    try:
        with open(path, "rb") as file:
            check_program(file)
            file.seek(0)
            # latin1: Python 2's text, and its arrays' bytes
            content = _PlainUnpickler(file, encoding="latin1").load()
            return _Finished(UNFOLDED * file.seek(0, io.SEEK_END)).of(content)
    except ExcessiveError as error:
        raise UserError(f"{path} was not loaded: {error}; {advice}") from None
    except NotPlainError as error:
        raise UserError(f"{path} holds more than plain arrays and was not loaded: {error}; {advice}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {advice}") from None
    except MemoryError:
        raise UserError(f"{path} does not fit into memory: {advice}") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(
            f"{path} is not a readable pickle ({type(error).__name__}: {str(error)[:100]}): {advice}"
        ) from None


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """A stand-in for the few names that plain data need."""
        found = _WORDS.get((module, name))
        if found is None:
            raise NotPlainError(f"it names {module}.{name}")
        return found


class _Word:
    """A callable that a pickle may name; it has no state that a pickle could set."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> NoReturn:
        raise NotPlainError("it changes one of the words it is written in")


class _DType(_Word):
    """numpy.dtype."""

    __slots__ = ()

    def __call__(self, spec: Any, align: Any = False, copy: Any = False) -> "_Type":
        return _Type(spec)


class _NDArray(_Word):
    """numpy.ndarray, which `_reconstruct` is given."""

    __slots__ = ()


class _Reconstruct(_Word):
    """numpy's _reconstruct: an empty array, whose content follows as its state."""

    __slots__ = ()

    def __call__(self, kind: Any, shape: Any, code: Any) -> "_Array":
        if not isinstance(kind, _NDArray):
            raise NotPlainError("an array of another class than numpy.ndarray")
        return _Array()


class _FromBuffer(_Word):
    """numpy's _frombuffer, of pickle protocol 5."""

    __slots__ = ()

    def __call__(self, data: Any, dtype: Any, shape: Any, order: Any = "C") -> "_Array":
        array = _Array()
        array.fill(shape, dtype, order == "F", bytes(data) if isinstance(data, bytearray) else data)
        return array


class _Scalar(_Word):
    """numpy's scalar: one number or text, as Python's."""

    __slots__ = ()

    def __call__(self, dtype: Any, data: Any = b"") -> Any:
        array = _Array()
        array.fill((), dtype, False, data)
        return array.finished.item()


class _Encode(_Word):
    """_codecs.encode as pickles of protocol 2 write bytes: text to latin1."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any = None) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise NotPlainError(f"it calls _codecs.encode with {encoding!r}")
        return text.encode("latin1")


class _Bytes(_Word):
    """bytes, as pickles of protocol 2 write an empty one."""

    __slots__ = ()

    def __call__(self) -> bytes:
        return b""


_NUMPY = {"_reconstruct": _Reconstruct(), "scalar": _Scalar()}
_WORDS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _DType(),
    ("numpy", "ndarray"): _NDArray(),
    ("_codecs", "encode"): _Encode(),
    **{(module, "bytes"): _Bytes() for module in ("builtins", "__builtin__")},
    **{(f"numpy.{core}.multiarray", name): word for core in ("core", "_core") for name, word in _NUMPY.items()},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FromBuffer() for core in ("core", "_core")},
}


class _Type:
    """A dtype under construction: a kind and a size, then its byte order."""

    __slots__ = ("order", "spec")

    def __init__(self, spec: Any) -> None:
        self.spec, self.order = spec, "="
        if not isinstance(spec, str) or not (_PLAIN.fullmatch(spec) or spec in ("O", "O4", "O8")):
            raise NotPlainError(f"an array of type {spec!r}")

    def __setstate__(self, state: Any) -> None:
        if (
            not isinstance(state, tuple)
            or len(state) < 5
            or any(part is not None for part in state[2:5])
            or state[1] not in ("<", ">", "|", "=")
        ):
            raise NotPlainError("an array of a structured type")
        self.order = state[1]

    @property
    def finished(self) -> np.dtype:
        """NumPy's."""
        return np.dtype("O") if self.spec.startswith("O") else np.dtype(self.order + self.spec)


class _Array:
    """An array under construction."""

    __slots__ = ("finished",)
    finished: np.ndarray

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise NotPlainError("an array in an unknown form")
        self.fill(*state[-4:])

    def fill(self, shape: Any, dtype: Any, fortran: Any, data: Any) -> None:
        """Set shape and content; the content must be as long as the shape says."""
        if (
            not isinstance(dtype, _Type)
            or not isinstance(shape, tuple)
            or not all(isinstance(side, int) and side >= 0 for side in shape)
        ):
            raise NotPlainError("an array in an unknown form")
        kind, order = dtype.finished, "F" if fortran else "C"
        count = 1
        for side in shape:
            count *= side
        if kind.kind == "O":
            if not isinstance(data, list) or len(data) != count:
                raise NotPlainError("an array of objects without them")
            flat = np.empty(count, object)
            for place, value in enumerate(data):
                flat[place] = value
        else:
            content = data.encode("latin1") if isinstance(data, str) else data
            if not isinstance(content, bytes) or len(content) != count * kind.itemsize:
                raise NotPlainError(f"an array {list(shape)} of {kind} with content of another length")
            if count and not content:
                raise NotPlainError(f"an array {list(shape)} of nothing")
            flat = np.frombuffer(content, kind) if content else np.empty(count, kind)
        self.finished = flat.reshape(shape, order=order)  # type: ignore[call-overload]


class _Finished:
    """Replaces arrays under construction by NumPy's, everywhere below an object."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.seen: dict[int, Any] = {}
        self.sizes: dict[int, int] = {}
        self.kept: list[Any] = []  # so that no id is used twice

    def of(self, value: Any, depth: int = 0) -> Any:
        """The finished form of a value; containers may be shared, but not hold themselves."""
        if value is None or isinstance(value, str | bytes | int | float):
            return value
        if depth > DEPTH:
            raise NotPlainError(f"containers within containers, more than {DEPTH} deep, or one that holds itself")
        if id(value) not in self.seen:
            self.kept.append(value)
            self.seen[id(value)] = self._made(value, depth + 1)
            self.sizes[id(value)] = self._size(value)
            if self.sizes[id(value)] > self.most:
                raise NotPlainError("containers that name the same ones again and again")
        return self.seen[id(value)]

    def _size(self, value: Any) -> int:
        """Values in a container whose members are finished, each time that they are named."""
        if isinstance(value, _Array):
            value = value.finished.reshape(-1) if value.finished.dtype.kind == "O" else ()
        members = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        return 1 + sum(self.sizes.get(id(member), 1) for member in members) if not isinstance(value, _Type) else 1

    def _made(self, value: Any, depth: int) -> Any:
        if isinstance(value, _Array):
            if not hasattr(value, "finished"):
                raise NotPlainError("an array without content")
            if value.finished.dtype.kind == "O":
                for place, item in enumerate(value.finished.reshape(-1)):
                    value.finished.reshape(-1)[place] = self.of(item, depth)
            return value.finished
        if type(value) is dict:
            return {self.of(key, depth): self.of(item, depth) for key, item in value.items()}
        if type(value) in (list, tuple, set, frozenset):
            return type(value)(self.of(item, depth) for item in value)
        if isinstance(value, _Type):
            return value.finished
        raise NotPlainError(f"a {type(value).__name__.lstrip('_')}")
