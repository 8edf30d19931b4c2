"""Stage cost: what one training step of a method costs beside joint training's, measured on this machine. No trained
model is needed.

Its file differs from machine to machine and from run to run, so it is apart from the results, which do not.
"""

import gc
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from equimodal.engines.layout import cost_path
from equimodal.evaluation.memory import LiveTensors
from equimodal.params import Params
from equimodal.progress import watched
from equimodal.report.cost_file import Cost, Machine, Memory, Time, Weights
from equimodal.stages.setup import Setup
from equimodal.stages.steps import Steps
from equimodal.store import digest, write_json

SEED = 0
ROUNDS = (3, 15)  # at least and at most
BUDGET = 8.0  # seconds after which no further round begins


def run(params: Params, dataset: str, method: str) -> None:
    """Measure; write results/cost/D_M.json.

    The steps are the real ones (loop, optimizer, batches of the training split as augmented in the first epoch), of a
    freshly initialised model in one process, whatever `runtime.devices` says. AIM's prototypes and decoupling are not
    fitted: values do not change what a step costs.
    """
    alone = params.model_copy(update={"runtime": params.runtime.model_copy(update={"devices": 1})})
    setup, joint = (Setup.open(alone, dataset, name, SEED) for name in (method, "joint"))
    peak, peak_joint = peak_bytes(setup), peak_bytes(joint)
    own, other = Steps(setup), Steps(joint)
    cost = Cost(
        dataset=dataset,
        method=method,
        source=setup.data.manifest["source"],
        data_digest=setup.data.manifest["digest"],
        batch_size=alone.training_of(dataset).batch_size,
        settings_digest=digest(setup.slices("train")),
        machine=machine(setup),
        time=timed(own, other),
        memory=Memory(
            how="allocator" if setup.data.device.type == "cuda" else "tensors", peak=peak, peak_joint=peak_joint
        ),
        weights=Weights(model=own.model_weights, beside=own.beside_weights, joint=other.model_weights),
    )
    write_json(cost_path(dataset, method), cost.model_dump(mode="json"))


def timed(own: Steps, joint: Steps) -> Time:
    """Rounds of `cycle` steps of each, in turns, after one round to warm up; which goes first alternates."""
    on_gpu = own.device.type == "cuda"
    clock = _wall(own.device) if on_gpu else time.process_time
    count = own.cycle
    for steps in (own, joint):
        steps.run(count)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in watched(rounds(), ROUNDS[1], "timing steps", "rounds at most"):
        first = len(seconds[True]) % 2 == 0
        for is_own in (first, not first):
            start = clock()
            (own if is_own else joint).run(count)
            seconds[is_own].append((clock() - start) / count)
    ratios = [a / b for a, b in zip(seconds[True], seconds[False], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Time(
        clock="wall" if on_gpu else "processor",
        seconds=statistics.median(seconds[True]),
        seconds_joint=statistics.median(seconds[False]),
        ratios=ratios,
        ratio=middle,
        quartiles=(low, high),
        cycle=count,
    )


def rounds() -> Iterator[int]:
    """Numbers of rounds, as many as fit in the budget."""
    begun = time.perf_counter()
    for number in range(ROUNDS[1]):
        if number >= ROUNDS[0] and time.perf_counter() - begun >= BUDGET:
            return
        yield number


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


def _wall(device: torch.device) -> Callable[[], float]:
    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now
