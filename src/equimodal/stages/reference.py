"""Stage reference: joint training alone, measured once for all methods of a dataset on this machine: memory of a step,
operations, and what an epoch takes beside its steps. Times of steps are measured in turns with each method (stage
cost).
"""

import gc
import platform
import statistics
import tempfile
from collections.abc import Callable
from itertools import chain, count
from pathlib import Path

import torch

from equimodal.engines.layout import reference_path
from equimodal.evaluation.memory import LiveTensors
from equimodal.evaluation.operations import Dispatched
from equimodal.params import Params
from equimodal.report.cost_file import Epoch, Machine, Pieces, Reference
from equimodal.stages.setup import Setup
from equimodal.stages.steps import Steps
from equimodal.store import digest, write_json
from equimodal.training.device import stopwatch

SEED = 0
TIMES = 5  # at most, that a batch, an evaluation and a save are measured
BUDGET = 2.0  # seconds of work after which none is measured again


def run(params: Params, dataset: str) -> None:
    """Measure; write results/cost/reference/D.json."""
    setup = opened(params, dataset, "joint")
    content = Reference(
        dataset=dataset,
        data_digest=setup.data.manifest["digest"],
        settings_digest=digest(setup.slices("train")),
        machine=machine(setup),
        pieces=measured(setup),
    )
    write_json(reference_path(dataset), content.model_dump(mode="json"))


def opened(params: Params, dataset: str, method: str) -> Setup:
    """What is measured: one process, whatever `runtime.devices` says."""
    alone = params.model_copy(update={"runtime": params.runtime.model_copy(update={"devices": 1})})
    return Setup.open(alone, dataset, method, SEED)


def measured(setup: Setup) -> Pieces:
    """What can be measured of a method alone; of a freshly initialised model, on real batches."""
    peak = peak_bytes(setup)
    steps = Steps(setup)
    steps.run(steps.cycle)  # from here on the optimizer has its state
    with Dispatched() as operations:
        steps.run(steps.cycle)
    return Pieces(
        peak=peak,
        model_weights=steps.model_weights,
        beside_weights=steps.beside_weights,
        operations=operations.count / steps.cycle,
        epoch=epoch(steps),
    )


def epoch(steps: Steps) -> Epoch:
    """What an epoch takes beside its steps."""
    seconds = stopwatch(steps.device)
    begin = repeated(lambda: steps.begin(0), seconds)  # and the first step, which may do an epoch's own work
    step = repeated(lambda: steps.run(steps.cycle), seconds) / steps.cycle
    end = repeated(lambda: steps.method.end_epoch(0, steps.loop), seconds)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        save = repeated(lambda: steps.loop.save(path), seconds)
        size = path.stat().st_size
    batches = chain.from_iterable(map(steps.loop.batches, count()))
    feed = repeated(lambda: next(batches), seconds)
    return Epoch(
        seconds_begin=max(0.0, begin - step),
        seconds_end=end,
        seconds_feed=feed * steps.loop.data.steps(steps.loop.training.batch_size),
        seconds_evaluate=repeated(steps.loop.evaluate, seconds),
        seconds_save=save,
        state_bytes=size,
        model_bytes=sum(value.nbytes for value in steps.method.model.state_dict().values()),
    )


def repeated(work: Callable[[], object], seconds: Callable[[], float]) -> float:
    """Median seconds of a piece of work that is done as often as fits in the budget."""
    found: list[float] = []
    while len(found) < TIMES and sum(found) < BUDGET:
        start = seconds()
        work()
        found.append(seconds() - start)
    return statistics.median(found)


def peak_bytes(setup: Setup) -> int:
    """Highest memory during a cycle of steps, once the optimizer has its state;
    the dataset's arrays and other methods do not count.
    """
    gc.collect()
    if setup.data.device.type == "cuda":
        before = torch.cuda.memory_allocated(setup.data.device)
        steps = Steps(setup)
        steps.run(steps.cycle)
        torch.cuda.reset_peak_memory_stats(setup.data.device)
        steps.run(steps.cycle)
        return torch.cuda.max_memory_allocated(setup.data.device) - before
    with LiveTensors() as memory:
        steps = Steps(setup)
        steps.run(steps.cycle)
        memory.restart()
        steps.run(steps.cycle)
    return memory.peak


def machine(setup: Setup) -> Machine:
    """What the numbers depend on."""
    device = setup.data.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return Machine(cpu=processor(), threads=setup.params.runtime.threads, device=name, torch=torch.__version__)


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model, as far as the system tells."""
    try:
        lines = info.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
