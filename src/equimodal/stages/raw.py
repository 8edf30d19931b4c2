"""Stage raw: get the raw files of a dataset, and write down what they are (data/D/raw/manifest.json)."""

from equimodal.datasets.registry import dataset_kind
from equimodal.params import Params
from equimodal.store import atomic, write_json


def run(params: Params, dataset: str) -> None:
    """Generate (`sample`), check (`local`) or fetch (`download`) the raw files of `dataset`.

    Writes data/D/raw/, replaced as a whole: manifest.json, beside it the media of a generated sample.

    Raises:
        UserError: what is missing, where to get it, how many GB, which setting to change.
    """
    kind = dataset_kind(dataset, params.dataset(dataset), params.runtime.workers)
    with atomic(kind.produced) as scratch:
        scratch.mkdir()
        files = kind.acquire(scratch)
        write_json(scratch / "manifest.json", describe(dataset, kind.settings.source, kind.root, files))


def describe(dataset: str, source: str, root: str, files: dict) -> dict:
    """Content of raw/manifest.json; `files` is relative path -> FileFact."""
    facts = {path: {"bytes": fact.bytes, "sha256": fact.sha256} for path, fact in files.items()}
    return {"dataset": dataset, "source": source, "root": root, "files": facts}
