"""The modalities of a table that are arrays computed elsewhere:
a column with one path per row, or one file for all rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from equimodal.datasets.base import FileFact, size_of
from equimodal.errors import UserError
from equimodal.features.arrays import ArrayFile, locate, locator, open_arrays
from equimodal.features.media import MediaError
from equimodal.settings.features import ArraySettings, SequenceSettings
from equimodal.store import file_sha256


def facts(
    arrays: Mapping[str, ArraySettings], root: Path, paths: Sequence[Mapping[str, str | None]], where: Sequence[str]
) -> dict[str, FileFact]:
    """What is known of the files: sizes, and checksums of those that hold all samples.

    Args:
        paths: for every row of the table modality -> path, of the modalities that have a column.
        where: what to do about an absent file, for every row.

    Raises:
        UserError: a file that is absent or cannot be read.
    """
    found: dict[str, FileFact] = {}
    for row, advice in zip(paths, where, strict=True):
        for path in row.values():
            if path is not None and (file := locate(path)[0]) not in found:
                found[file] = FileFact(size_of(root / file, advice))
    for feature in arrays.values():
        for name in (feature.file, feature.lengths if isinstance(feature, SequenceSettings) else None):
            if name is not None:
                found[name] = FileFact(
                    size_of(root / name, f"set it in `modalities`, relative to root = {root}"), file_sha256(root / name)
                )
    return found


def stacked(arrays: Mapping[str, ArraySettings], root: Path, count: int, table: Path, key: str) -> dict[str, list[str]]:
    """The paths of every row's part in the files that hold all samples: modality -> [count].

    Args:
        count: rows of the table.
        table: its file, for messages.
        key: full name of the setting `modalities`, for messages.

    Raises:
        UserError: a file that cannot be read, whose rows are not as many as the table's, of another shape than the
            settings say; wrong lengths.
    """
    files = {
        name: (feature, _opened(root, feature, f"{key}.{name}"))
        for name, feature in arrays.items()
        if feature.file is not None
    }
    counts = {name: file.shape[0] if file.shape else 0 for name, (_, file) in files.items()}
    if any(number != count for number in counts.values()):
        listed = ", ".join(f"{name} {number} ({files[name][0].file})" for name, number in counts.items())
        raise UserError(
            f"rows disagree: {table} has {count}, but {listed}: a file needs one row per sample, in the table's order"
        )
    paths = {}
    for name, (feature, file) in files.items():
        _check_shape(feature, file, f"{key}.{name}")
        steps = _lengths(feature, root, file, f"{key}.{name}.lengths")
        paths[name] = [
            locator(str(feature.file), row, None if steps is None else int(steps[row])) for row in range(count)
        ]
    return paths


def _opened(root: Path, feature: ArraySettings, key: str) -> ArrayFile:
    try:
        return open_arrays(root / str(feature.file), feature.key)
    except MediaError as error:
        raise UserError(f"{root / str(feature.file)} ({key}): {error}") from None


def _check_shape(feature: ArraySettings, file: ArrayFile, key: str) -> None:
    """Width and number of axes, where the header tells them."""
    if len(file.shape) < 2:
        if len(file.shape) == 1 and Path(str(feature.file)).suffix == ".parquet":
            return  # rows may differ: each is checked when it is read
        raise UserError(
            f"{key}: {feature.file} has shape {list(file.shape)}: rows [N, {feature.width}] or [N, steps,"
            f" {feature.width}] are needed"
        )
    needed = "sequence" if len(file.shape) == 3 else "vector"
    if len(file.shape) > 3 or feature.kind != needed:
        what = f"set kind: {needed}" if len(file.shape) <= 3 else "at most three axes are read"
        raise UserError(
            f"{key}: {feature.file} has shape {list(file.shape)}, which is not one {feature.kind} per row: {what}"
        )
    if file.shape[-1] != feature.width:
        raise UserError(
            f"{key}: {feature.file} has shape {list(file.shape)}, but width is {feature.width}: set width:"
            f" {file.shape[-1]}"
        )


def _lengths(feature: ArraySettings, root: Path, file: ArrayFile, key: str) -> np.ndarray | None:
    """True steps of every row [N], or None where every step is real."""
    if not isinstance(feature, SequenceSettings) or feature.lengths is None:
        return None
    path = root / feature.lengths
    try:
        lengths = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} ({key}) is no .npy file of whole numbers: {error}") from None
    if not isinstance(lengths, np.ndarray) or lengths.dtype.kind not in "iu" or lengths.shape != file.shape[:1]:
        shape = f"{lengths.dtype} {list(lengths.shape)}" if isinstance(lengths, np.ndarray) else type(lengths).__name__
        raise UserError(
            f"{path} ({key}) is {shape}: whole numbers [{file.shape[0]}] are needed, one per row of {feature.file}"
        )
    most = file.shape[1] if len(file.shape) > 1 else None
    wrong = np.flatnonzero((lengths < 0) | (lengths > most if most is not None else False))
    if len(wrong):
        raise UserError(
            f"{path} ({key}): row {wrong[0]} says {lengths[wrong[0]]} steps, but {feature.file} has {most} per row"
        )
    return lengths
