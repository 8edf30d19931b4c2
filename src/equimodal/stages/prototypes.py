"""Stage prototypes: DAP, fitted on the frozen warm-up; shared by the variants with equal fit settings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from equimodal.engines.layout import fit_path, warmup_path
from equimodal.errors import UserError
from equimodal.methods.base import Batch, Method
from equimodal.params import Params
from equimodal.seeding import generator
from equimodal.stages.setup import Setup
from equimodal.store import read_tensors, write_json, write_tensors
from equimodal.tracking import clock
from equimodal.training.device import stopwatch
from equimodal.training.state import load_warmup


def run(params: Params, dataset: str, method: str, seed: int) -> None:
    """Fit on the warm-up's weights; write tensors and the log."""
    begun = clock.begun()
    setup = Setup.open(params, dataset, method, seed)
    seconds = stopwatch(setup.data.device)
    before = seconds()
    start = warmup_path(dataset, params.warmup_of(dataset, method), seed)
    trained, log = fit(setup, start)
    key = setup.key("prototypes", [start])
    path = fit_path(dataset, method, seed)
    write_tensors(path, trained.fit_state(), {"key": key})
    write_json(path.with_suffix(".json"), {"meta": setup.meta("prototypes", key), "log": log})
    clock.end(key, begun, {setup.data.device.type: seconds() - before})


def fit(setup: Setup, start: Path) -> tuple[Method[Any], dict[str, Any]]:
    """The method with what it has fitted on the warm-up of the file `start`, and the fit's log."""
    trained = setup.method()
    load_warmup(start, *read_tensors(start), trained.model)
    try:
        return trained, trained.fit(lambda: endless(setup), progress=True)
    except UserError as error:
        raise UserError(f"prototypes of {setup.dataset} {setup.resolved.name}, seed {setup.seed}: {error}") from None


def endless(setup: Setup) -> Iterator[Batch]:
    """Augmented training batches without end, drawn from the run's seed; the warm-up's own epochs are not repeated."""
    training = setup.params.training_of(setup.dataset)
    round_ = 0
    while True:
        shuffle = generator(setup.seed, "fit-order", round_)
        draw = generator(setup.seed, "fit-augment", round_, device=setup.data.device)
        for inputs, labels in setup.data.training_batches(training.batch_size, shuffle, draw, training.augment):
            yield Batch(inputs, labels)
        round_ += 1
