"""Stage weights: the file that `model.weights` names, checked, as the weights that a dataset's encoders start from.

Training reads nothing from outside the project, so it reads this copy. Every dataset has one, without a tensor where
training starts from random numbers: DVC has no optional dependencies, and both engines hold the same graph.
"""

from pathlib import Path

from equimodal.datasets.base import FileFact
from equimodal.datasets.fetch.transfer import download
from equimodal.datasets.fetch.web import WebError
from equimodal.engines.layout import weights_path
from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.store import atomic, file_sha256

# torchvision's ResNet18_Weights.IMAGENET1K_V1: 1.28 million pictures of 1,000 classes, 69.76 % top-1.
HOME = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
FACT = FileFact(46_830_571, "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec")
CACHE = Path("data/weights/resnet18-f37072fd.pth")
EMPTY = b"\x08" + bytes(7) + b"{}      "  # a safetensors file without a tensor


def run(params: Params, dataset: str) -> None:
    """Write data/D/weights.safetensors: torchvision's names -> float32, and the sha256 of the file that they came from.

    Raises:
        UserError: a file that is missing, unreadable or of another architecture; a download that does not succeed.
    """
    start, model = params.weights_of(dataset), params.model_of(dataset)
    if start is None:
        with atomic(weights_path(dataset)) as scratch:  # without torch: a job of 0.3 s
            scratch.write_bytes(EMPTY)
        return
    from equimodal.models.state_file import read_resnet
    from equimodal.store import write_tensors

    path = downloaded(dataset) if start.file is None else Path(start.file)
    tensors = read_resnet(path, model.width, model.layers)
    write_tensors(weights_path(dataset), tensors, {"sha256": file_sha256(path)})


def downloaded(dataset: str) -> Path:
    """torchvision's public ResNet18, fetched once for all datasets, checked at each use; a begun download goes on."""
    from filelock import FileLock

    CACHE.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(CACHE.with_suffix(".lock")):  # two datasets' jobs may want it at once; the second finds it there
            if not (CACHE.is_file() and file_sha256(CACHE) == FACT.sha256):
                download(HOME, CACHE, FACT, CACHE.name)
    except WebError as error:
        raise UserError(
            f"datasets.{dataset}.model.weights = download: {error}; try again later (it goes on), or set"
            " weights to a file's path"
        ) from None
    return CACHE
