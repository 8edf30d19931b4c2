"""What a command meets when it opens MLflow's store itself, in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from equimodal.errors import UserError
from equimodal.tracking.info import without_password


@contextmanager
def store(uri: str, doing: str) -> Iterator[None]:
    """Around all that imports mlflow and uses the store: what it raises becomes a UserError, "cannot DOING URI ..."."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # mlflow and its databases raise many kinds
        raise UserError(
            f"cannot {doing} {without_password(uri)} (tracking.uri): {type(error).__name__}: {str(error)[:300]}"
        ) from error
