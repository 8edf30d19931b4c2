"""Stage operations: the operations of a method's training step, counted once for all seeds and without computing."""

import copy
import logging

import torch
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

from equimodal.engines.layout import operations_path
from equimodal.evaluation.operations import flops_of, made_inputs, made_labels
from equimodal.methods.base import Batch, Method
from equimodal.params import Params
from equimodal.stages.setup import Setup
from equimodal.stages.steps import Steps
from equimodal.store import write_json

log = logging.getLogger(__name__)

SEED = 0  # of the start that is not computed with


def run(params: Params, dataset: str, method: str) -> None:
    """Count; write models/D/M/operations.json: operations per sample (convolutions and matrix products, two per
    multiply-add) of the method's own step, mean over an epoch.
    """
    mapped = params.model_copy(update={"runtime": params.runtime.model_copy(update={"resident": "map"})})
    setup = Setup.open(mapped, dataset, method, SEED)
    content = {
        "dataset": dataset,
        "method": method,
        "data_digest": setup.data.manifest["digest"],
        "settings": setup.slices("operations"),
        "flops": {"training": training_flops(setup)},
    }
    write_json(operations_path(dataset, method), content)


def training_flops(setup: Setup) -> float:
    """Operations per sample of a training step, mean over an epoch.

    Counted on fake tensors, which have shapes and no values. A method that looks at values in Python (`.item()`,
    `.tolist()`, numpy) takes real steps instead; the count is the same.
    """
    try:
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        method, batch = without_values(setup, mode)
        with mode:
            return counted(Steps(setup, method, [batch]))
    except Exception as error:  # real steps show any fault of the method's own
        first = str(error).partition("\n")[0]
        log.warning(
            "%s: operations are counted by real steps (%s: %s)", setup.resolved.name, type(error).__name__, first
        )
        return counted(Steps(setup))


def counted(steps: Steps) -> float:
    """Operations per sample, mean over an epoch: one cycle from its beginning, which may do an epoch's own work, and
    all others as the one after it.
    """
    first, samples = flops_of(lambda: steps.run(steps.cycle))
    later, _ = flops_of(lambda: steps.run(steps.cycle))
    cycles = max(1.0, steps.loop.data.steps(steps.loop.training.batch_size) / steps.cycle)
    return first / samples if first == later else (first + (cycles - 1) * later) / (cycles * samples)


def without_values(setup: Setup, mode: FakeTensorMode) -> tuple[Method, Batch]:
    """A fresh method and a whole batch for it, as fake tensors."""
    data, size = setup.data, min(setup.params.training_of(setup.dataset).batch_size, setup.data.count("train"))
    method = setup.method(setup.blank_means())
    batch = Batch(made_inputs(data.shapes, size, data.device), made_labels(size, data.objective, data.device))
    generators = [v for module in method.modules() for v in vars(module).values() if isinstance(v, torch.Generator)]
    with FakeCopyMode(mode):
        fake, batch = copy.deepcopy((method, batch), {id(each): each for each in generators})
    fake.to = lambda *_: fake  # type: ignore[method-assign]  # it is where it belongs, and Module.to cannot swap fakes
    return fake, batch
