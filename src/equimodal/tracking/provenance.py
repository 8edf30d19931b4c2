"""Which code wrote a run: commit and versions, found without importing what they belong to."""

import functools
import importlib.metadata
import subprocess

PACKAGES = ("equimodal", "torch", "mlflow")


@functools.cache
def provenance() -> dict[str, str]:
    """Tags git.commit, git.dirty and versions.*; outside a git checkout the first two are absent."""
    tags = {f"versions.{name}": version for name in PACKAGES if (version := _version(name))}
    commit = _git("rev-parse", "HEAD")
    if commit:
        dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
        # MLflow's own tag fills the column `Version` of its table.
        tags |= {"git.commit": commit, "mlflow.source.git.commit": commit, "git.dirty": str(dirty).lower()}
    return tags


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
