"""Publish everything in models/ and results/ to MLflow.

Idempotent: deleting mlflow.db and running it again loses nothing.
"""

from pathlib import Path

from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.tracking.info import without_password
from equimodal.tracking.store import store


def run(params: Params) -> None:
    """Rebuild the runs of every file below the current folder and print how many were added, updated or left alone.

    Raises:
        UserError: the store cannot be opened, mlflow is missing,
            or some file could not be read (the others are published).
    """
    uri = params.tracking.uri
    with store(uri, "publish to"):
        from equimodal.tracking.rebuild import rebuild

        counts, problems = rebuild(uri, Path())
    print(
        f"{without_password(uri)}: {counts['added']} runs added, {counts['updated']} updated,"
        f" {counts['unchanged']} unchanged"
    )
    if problems:
        raise UserError("; ".join(problems))
