"""Files that stages exchange: canonical JSON, .npy memory maps, safetensors; written whole or not at all."""

import errno
import glob
import hashlib
import json
import math
import os
import shutil
import tempfile
import tokenize
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from equimodal.errors import UserError
from equimodal.files import no_file

if TYPE_CHECKING:
    import torch


def canonical_json(value: Any, indent: int | None = None) -> str:
    """Sorted keys, floats by repr, no NaN: equal values give equal text."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(value, sort_keys=True, allow_nan=False, indent=indent, separators=separators, ensure_ascii=False)


def digest(value: Any) -> str:
    """Sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Sha256 (hex) of a file's bytes, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a path to write to (file or directory, same name); it replaces `path` only if the block succeeds.

    The temporary path has the same final name, because some writers put the name into the bytes. A full disk
    becomes a UserError; whatever stood at `path` before is left as it was.
    """
    path = Path(path)
    scratch: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.{os.getpid()}.", dir=path.parent))
        yield scratch / path.name
        if (scratch / path.name).is_dir() and path.is_dir():
            path.rename(scratch / "replaced")
        os.replace(scratch / path.name, path)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _remove_abandoned(path: Path) -> None:
    """Delete what killed processes left beside `path` while they wrote it."""
    for scratch in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        pid = scratch.name.removeprefix(f".{path.name}.").partition(".")[0]
        try:
            os.kill(int(pid), 0)  # signal 0 only asks whether the process lives
        except ProcessLookupError:
            shutil.rmtree(scratch, ignore_errors=True)
        except (ValueError, OSError):
            continue


def disk_error(error: OSError, path: Path) -> Exception:
    """A UserError for a full or read-only disk, and for a file where a folder belongs; any other error unchanged."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"no space left while writing {path}: free some disk and run again; finished work is kept")
    if error.errno in (errno.EROFS, errno.EACCES):
        return UserError(f"cannot write {path}: {error.strerror}; check the folder's permissions")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return UserError(f"cannot write {path}: a file stands where a folder of that path belongs: move it away")
    return error


def write_json(path: Path, value: Any) -> None:
    """Write canonical, indented JSON atomically."""
    with atomic(path) as scratch:
        scratch.write_text(canonical_json(value, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is a UserError naming the stage files to rebuild."""
    check_there(path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not valid JSON ({error}): if a stage wrote it, delete it and build it again"
        ) from None


def check_there(path: Path, build: str = "build it first") -> None:
    """Refuse a path where there is no file: a UserError that says what is there, or how to `build` it."""
    why = no_file(path)
    if why == "does not exist":
        raise UserError(f"{path} is missing: {build} (snakemake --cores 4 -- {path})")
    if why is not None:
        raise UserError(f"{path} {why}")


def read_manifest(path: Path) -> dict[str, Any]:
    """Read data/D/manifest.json, its modalities in the order that params.yaml declared (in the file keys are sorted).

    Raises:
        UserError: missing, broken, or of a version that did not write the order.
    """
    manifest: dict[str, Any] = read_json(path)
    if "order" not in manifest:
        raise UserError(
            f"{path} does not say in which order its modalities are declared, an older version wrote it: build it again"
            f" (snakemake --cores 4 -R manifest -- {path})"
        )
    return {**manifest, "modalities": {name: manifest["modalities"][name] for name in manifest["order"]}}


def finite_or_none(value: float) -> float | None:
    """JSON has no NaN: an undefined number is null."""
    return float(value) if math.isfinite(value) else None


@contextmanager
def array_writer(path: Path, shape: tuple[int, ...], dtype: str) -> Iterator[np.memmap]:
    """Yield a writable .npy memory map of `shape`; it appears at `path` when the block succeeds."""
    with atomic(path) as scratch:
        array = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.dtype(dtype), shape=shape)
        reserve(scratch)
        yield array
        array.flush()


def reserve(path: Path) -> None:
    """Take the disk space of a sparse file now: a memory map on a full disk kills the process (SIGBUS),
    but this raises OSError.
    """
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


# What NumPy and what it calls have been seen to raise about a damaged file of arrays
DAMAGED = (
    *(OSError, ValueError, TypeError, OverflowError, EOFError, RecursionError, MemoryError),
    *(SyntaxError, tokenize.TokenError),
)


def open_array(path: Path) -> np.memmap:
    """Open a .npy array read-only as a memory map."""
    check_there(path)
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except DAMAGED as error:
        words = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"{path} is no readable array ({words}): delete it and build it again") from None


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns of equal length as parquet: same content, same bytes (by the same version of Arrow)."""
    import pyarrow
    from pyarrow import parquet

    with atomic(path) as scratch:
        parquet.write_table(pyarrow.table(dict(columns)), scratch)


def read_table(path: Path) -> dict[str, list[Any]]:
    """Columns of a parquet file; a missing or broken one is a UserError."""
    import pyarrow
    from pyarrow import parquet

    check_there(path, "evaluate that model again")
    try:
        columns: dict[str, list[Any]] = parquet.read_table(path).to_pydict()
    except (pyarrow.ArrowException, *DAMAGED) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} is not a readable parquet file ({first}): delete it and build it again") from None
    return columns


def write_tensors(path: Path, tensors: Mapping[str, "torch.Tensor"], meta: dict[str, Any], sealed: bool = True) -> str:
    """Write tensors and a JSON-able `meta` as safetensors: same content, same bytes. Returns the file's sha256 (hex).

    safetensors writes several metadata keys in random order, so there is exactly one: "json".

    Args:
        sealed: `meta` also holds the sha256 of the file as it is with zeros in that place, which `read_tensors`
            compares. Without, another file says the checksum.
    """
    from safetensors.torch import save

    # Copies, because tensors that share memory are refused.
    # Written by us, because save_file hides a full disk's OSError.
    ready = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = save(ready, metadata={"json": canonical_json({**meta, SEAL: ZEROS} if sealed else meta)})
    found = hashlib.sha256(content).hexdigest()
    if sealed:
        place = content.index(_SEALED % ZEROS.encode()) + _SEALED.index(b"%")
        content = b"".join((content[:place], found.encode(), content[place + len(ZEROS) :]))
    with atomic(path) as scratch:
        scratch.write_bytes(content)
    return found


# Member of a file's `meta` that holds the file's own checksum; what stands there while it is computed; and how the
# header, JSON within JSON, has them.
SEAL = "seal"
ZEROS = "0" * 64
_SEALED = b'\\"seal\\":\\"%s\\"'


def read_tensors(path: Path, sha256: str | None = None, sealed: bool = False) -> tuple[dict[str, "torch.Tensor"], Any]:
    """Read what `write_tensors` wrote: (tensors, meta). The file's own checksum is compared if it has one.

    Args:
        sha256: what another file says is this one's.
        sealed: a file without a checksum of its own is damaged, not an older version's.

    Raises:
        UserError: missing, damaged, another checksum.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    check_there(path)
    try:
        # At once: the file may be replaced by another while it is read
        content = Path(path).read_bytes()
        tensors = load(content)
        header = content[8 : 8 + int.from_bytes(content[:8], "little")]
        meta = json.loads(json.loads(header).get("__metadata__", {}).get("json", "null"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise UserError(f"{path} does not fit into memory") from None
    except (SafetensorError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}): delete it and build it again") from None
    seal = meta.pop(SEAL, None) if isinstance(meta, dict) else None
    if (
        (seal is None and sealed)
        or (seal is not None and _unsealed_sha256(content, header, seal) != seal)
        or (sha256 is not None and hashlib.sha256(content).hexdigest() != sha256)
    ):
        raise UserError(f"{path} is damaged, its content is not what its checksum says: delete it and build it again")
    return tensors, meta


def stated_sha256(weights: Path) -> str | None:
    """Checksum of a model's weights that the run's curves.json or an exported folder's config.json beside them says;
    None where neither does.
    """
    for name, key in (("curves.json", "weights"), ("config.json", "files")):
        file = weights.with_name(name)
        content = read_json(file) if file.is_file() else None
        said = content.get(key) if isinstance(content, dict) else None
        if isinstance(said, dict) and weights.name in said:
            return str(said[weights.name])
    return None


def _unsealed_sha256(content: bytes, header: bytes, seal: Any) -> str:
    """Sha256 (hex) of a sealed file's content as it was before."""
    found = hashlib.sha256(content[:8])
    found.update(header.replace(_SEALED % str(seal).encode(), _SEALED % ZEROS.encode(), 1))
    found.update(memoryview(content)[8 + len(header) :])
    return found.hexdigest()
