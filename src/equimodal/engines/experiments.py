"""DVC's experiments that run in a copy of the project (`dvc exp run --temp`, `--queue`), which ours cannot."""

from pathlib import Path

from equimodal.errors import UserError

# Where DVC puts the copies, below the project's root.
COPIES = (".dvc", "tmp", "exps")


def refuse_copy(folder: Path | None = None) -> None:
    """Refuse to work in a copy that DVC made for an experiment; `folder` is the current one by default.

    The copy has what git knows and no more: raw files, weights and `../shared` are not beside it, a relative
    `tracking.uri` lies in it and goes with it, and the installed code is that of the project, not the experiment's.

    Raises:
        UserError: this is such a copy.
    """
    parts = (folder or Path.cwd()).resolve().parts
    if any(parts[place : place + len(COPIES)] == COPIES for place in range(len(parts))):
        raise UserError(
            "dvc exp run --temp and --queue are not supported: their copy of the project lacks what git ignores or lies"
            " beside it (weights/, raw files, ../shared, mlflow.db): run dvc exp run without them, one experiment after"
            " another (docs/workflow.md)"
        )
