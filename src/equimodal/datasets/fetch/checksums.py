"""Manifests that users give or mirrors publish: a CSV with path, sha256, bytes of every file."""

import csv
import os
from collections.abc import Callable
from pathlib import Path

from equimodal.datasets.base import FileFact, some_of
from equimodal.errors import UserError


def read_checksums(path: Path, key: str, wanted: Callable[[str], object] = lambda name: True) -> dict[str, FileFact]:
    """Path in the manifest -> size and sha256, of the files that are `wanted`; other rows are passed over unread.

    Raises:
        UserError: a file that cannot be read, a missing column, a row that is none; names the setting `key`.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            lacking = {"path", "sha256", "bytes"} - set(rows.fieldnames or ())
            if lacking:
                raise UserError(
                    f"{path} has no column {some_of(sorted(lacking))}: {key} must name a CSV with path, sha256, bytes"
                )
            return {
                os.fspath(row["path"]): FileFact(int(row["bytes"]), row["sha256"].lower())
                for row in rows
                if wanted(row["path"] or "")
            }
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): set {key} to a CSV with path, sha256, bytes, or to null"
        ) from None
    except (ValueError, AttributeError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path} is not a proper manifest ({error}): {key} must name a CSV with path, sha256, bytes"
        ) from None
