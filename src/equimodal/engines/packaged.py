"""The project's files that are no Python: an installed package has them beside its modules, a checkout at its top."""

from pathlib import Path

from equimodal.engines.closure import PACKAGE, SOURCE


def workflow_folder() -> Path:
    """The folder with Snakefile, workflow/, dvc.yaml and params.yaml: the package's own where a wheel was installed
    (pyproject.toml puts them there), the checkout where it is imported from one.
    """
    packaged = SOURCE / PACKAGE / "project"
    return packaged if packaged.is_dir() else SOURCE.parent
