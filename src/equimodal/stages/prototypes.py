"""Stage prototypes: DAP, then PDM, fitted on the frozen warm-up; shared by the variants with equal fit settings."""

from collections.abc import Iterator

from equimodal.engines.layout import fit_path, warmup_path
from equimodal.errors import UserError
from equimodal.methods.base import Batch
from equimodal.params import Params
from equimodal.seeding import generator
from equimodal.stages.setup import Setup
from equimodal.store import read_tensors, write_json, write_tensors
from equimodal.tracking import clock
from equimodal.training.state import load_warmup


def run(params: Params, dataset: str, method: str, seed: int) -> None:
    """Fit on the warm-up's weights; write tensors and the log of L_cls, L_r, accuracies, L_g, L_re."""
    begun = clock.begun()
    setup = Setup.open(params, dataset, method, seed)
    start = warmup_path(dataset, params.warmup_of(dataset, method), seed)
    trained = setup.method()
    load_warmup(start, *read_tensors(start), trained.model)
    try:
        log = trained.fit(lambda: endless(setup), progress=True)
    except UserError as error:
        raise UserError(f"prototypes of {dataset} {method}, seed {seed}: {error}") from None
    key = setup.key("prototypes", [start])
    path = fit_path(dataset, method, seed)
    write_tensors(path, trained.fit_state(), {"key": key})
    write_json(path.with_suffix(".json"), {"meta": setup.meta("prototypes", key), "log": log})
    clock.end(key, begun)


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
