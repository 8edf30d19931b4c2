"""A method on the tiny dataset, on a batch of it or in a loop, and what it starts from: what tests of methods start
from.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

import tiny_dataset
from equimodal.engines.layout import unimodal_path
from equimodal.methods.base import Batch, Method
from equimodal.params import Params
from equimodal.stages import train, unimodal
from equimodal.stages.setup import Setup
from equimodal.store import canonical_json, read_tensors
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


def goes_on_bit_for_bit(loop: Callable[[str], Loop], breaks: Sequence[int] = (1,), again: bool = False) -> Loop:
    """A run that is broken off after each of `breaks` epochs leaves the bytes of an unbroken one; returns its last
    part.

    Args:
        loop: a fresh loop whose checkpoint lies in the folder named.
        again: a second unbroken run leaves them, too.
    """
    for folder in ("unbroken", "again") if again else ("unbroken",):
        loop(folder).run()
    for place, until in enumerate((*breaks, None)):
        part = loop("broken")
        assert part.resume() == (place > 0)
        torch.rand(7)  # what another part of the process draws
        part.run(until=until)
    for path in Path("unbroken").iterdir():
        for other in ("broken", "again") if again else ("broken",):
            assert path.read_bytes() == Path(other, path.name).read_bytes(), path.name
    return part


def learned(path: Path) -> bytes:
    """A file of trained weights without what it says of its method: equal for equal training."""
    tensors, meta = read_tensors(path)
    meta.pop("about")
    return save(tensors, metadata={"json": canonical_json(meta)})


def warned_of(optimizer: str, method: Method[Any], caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a method warns of before it trains with this optimizer."""
    training = SimpleNamespace(optimizer=SimpleNamespace(name=optimizer))
    run: Any = SimpleNamespace(training=training, device=torch.device("cpu"))
    with caplog.at_level(logging.WARNING):
        method.prepare(run)
    return [record.getMessage() for record in caplog.records]


def alone(third: bool | tuple[str, ...] = False) -> dict[str, Any]:
    """Entries of `methods` that train each modality alone: what methods of family from-unimodal start from."""
    return {name: {"base": "unimodal", "modality": name} for name in tiny_dataset.names(third)}


def unimodal_models(own: Params) -> dict[str, dict[str, Tensor]]:
    """Trained models of one modality each, {m: state}, as stage unimodal hands them on; trained at the first call."""
    found = {}
    for modality, name in own.unimodal_of("tiny").items():
        path = unimodal_path("tiny", name, 0)
        if not path.is_file():
            train.run(own, "tiny", name, 0)
            unimodal.run(own, "tiny", name, 0)
        found[modality] = read_tensors(path)[0]
    return found
