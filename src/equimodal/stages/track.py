"""Publish everything in models/ and results/ to MLflow.

Idempotent: deleting mlflow.db and running it again loses nothing.
"""

import os
from pathlib import Path

from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.tracking.info import without_password


def run(params: Params) -> None:
    """Rebuild the runs of every file below the current folder and print how many were added, updated or left alone.

    Raises:
        UserError: the store cannot be opened, mlflow is missing,
            or some file could not be read (the others are published).
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    uri = params.tracking.uri
    try:
        from equimodal.tracking.rebuild import rebuild

        counts, problems = rebuild(uri, Path())
    except UserError:
        raise
    except Exception as error:  # mlflow and its databases raise many kinds
        raise UserError(
            f"cannot publish to {without_password(uri)} (tracking.uri): {type(error).__name__}: {str(error)[:300]}"
        ) from error
    print(
        f"{without_password(uri)}: {counts['added']} runs added, {counts['updated']} updated,"
        f" {counts['unchanged']} unchanged"
    )
    if problems:
        raise UserError("; ".join(problems))
