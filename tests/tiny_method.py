"""A method on the tiny dataset, on a batch of it or in a loop: what tests of methods start from."""

from pathlib import Path
from typing import Any

from equimodal.methods.base import Batch, Method
from equimodal.params import Params
from equimodal.stages.setup import Setup
from equimodal.training.loop import Loop


def opened(own: Params, name: str, kind: type[Any] | None = None, samples: int = 16) -> tuple[Method[Any], Batch]:
    """A fresh method and a batch for it; `kind` in the place of the registered class."""
    setup = Setup.open(own, "tiny", name, 0, kind=kind)
    inputs, labels = next(setup.data.evaluation_batches("train", samples))
    return setup.method(), Batch(inputs, labels)


def loop_of(folder: str | Path, own: Params, name: str, kind: type[Any] | None = None) -> Loop:
    """A loop of seed 0 whose checkpoint lies in `folder`."""
    setup = Setup.open(own, "tiny", name, 0, kind=kind)
    label = f"train of tiny {name}, seed 0"
    return Loop(setup.method(), setup.data, own.training, own.runtime, 0, Path(folder), "key", label)
