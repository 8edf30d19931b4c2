"""Stage cost: what training a method costs beside joint training, a step and a whole run, measured on this machine.

Its file differs from machine to machine and from run to run, so it is apart from the results, which do not.
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from equimodal.engines.layout import cost_path, reference_path, warmup_path
from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.progress import watched
from equimodal.report.cost_file import Cost, Epoch, Fit, Memory, Reference, Run, Time, Weights
from equimodal.stages import prototypes
from equimodal.stages.reference import machine, measured, opened
from equimodal.stages.running import start_files
from equimodal.stages.setup import Setup
from equimodal.stages.steps import Steps
from equimodal.store import digest, write_json
from equimodal.tracking import clock
from equimodal.training.device import stopwatch

ROUNDS = (3, 15)  # at least and at most
BUDGET = 8.0  # seconds after which no further round begins


def run(params: Params, dataset: str, method: str) -> None:
    """Measure; write results/cost/D_M.json.

    The steps are the real ones (loop, optimizer, batches of the training split as augmented in the first epoch), of a
    freshly initialised model in one process, whatever `runtime.devices` says. What a method fits is not fitted for
    them: values do not change what a step costs. What is not measured in turns with joint training's is taken from
    results/cost/reference/D.json.
    """
    setup, joint = (opened(params, dataset, name) for name in (method, "joint"))
    reference = referred(dataset, joint)
    pieces = reference.pieces if method == "joint" else measured(setup)
    paired = timed(Steps(setup), Steps(joint))
    content = Cost(
        dataset=dataset,
        method=method,
        source=setup.data.manifest["source"],
        data_digest=setup.data.manifest["digest"],
        batch_size=params.training_of(dataset).batch_size,
        settings_digest=digest(setup.slices("train")),
        machine=machine(setup),
        time=paired,
        memory=Memory(
            how="allocator" if setup.data.device.type == "cuda" else "tensors",
            peak=pieces.peak,
            peak_joint=reference.pieces.peak,
        ),
        weights=Weights(model=pieces.model_weights, beside=pieces.beside_weights, joint=reference.pieces.model_weights),
        operations=pieces.operations,
        operations_joint=reference.pieces.operations,
        epoch=pieces.epoch,
        epoch_joint=reference.pieces.epoch,
        run=whole_run(params, setup, paired, pieces.epoch, reference.pieces.epoch),
    )
    write_json(cost_path(dataset, method), content.model_dump(mode="json"))


def referred(dataset: str, joint: Setup) -> Reference:
    """What was measured of joint training alone.

    Raises:
        UserError: it is missing, or was measured on another machine, on other data or with other settings.
    """
    path = reference_path(dataset)
    found = Reference.read(path)
    here = (machine(joint), joint.data.manifest["digest"], digest(joint.slices("train")))
    if here != (found.machine, found.data_digest, found.settings_digest):
        raise UserError(
            f"{path} was measured on another machine, on other data or with other settings: measure it again"
            f" (equimodal reference --dataset {dataset})"
        )
    return found


def whole_run(params: Params, setup: Setup, paired: Time, own: Epoch, joint: Epoch) -> Run:
    """A run's seconds and joint training's, from their pieces.

    joint: epochs x (steps x its step + feeding + evaluation + save). The method: its warm-up's epochs as joint's, its
    fit, the others with its own pieces, and the whole runs of the models of one modality that it starts from.
    """
    dataset, family = setup.dataset, setup.resolved.entry.family
    training = params.training_of(dataset)
    epochs, steps = setup.epochs, setup.data.steps(training.batch_size)
    warmup = setup.resolved.warm.start_epoch if family == "from-warmup" else 0
    joint_epoch = epoch_seconds(steps, paired.seconds_joint, joint)
    own_epoch = epoch_seconds(steps, paired.seconds_joint * paired.ratio, own)
    fit = fitted(params, dataset, setup.resolved.name) if family == "from-warmup" else None
    starts = {}
    if family == "from-unimodal":
        for name in params.unimodal_of(dataset).values():
            alone, beside = opened(params, dataset, name), opened(params, dataset, "joint")
            ratio = timed(Steps(alone), Steps(beside)).ratio
            starts[name] = training.epochs * epoch_seconds(steps, paired.seconds_joint * ratio, measured(alone).epoch)
    known = fit is not None or family != "from-warmup"
    spent = warmup * joint_epoch + (epochs - warmup) * own_epoch + sum(starts.values())
    return Run(
        epochs=epochs,
        warmup_epochs=warmup,
        steps=steps,
        fit=fit,
        starts=starts,
        seconds=spent + (fit.seconds if fit else 0) if known else None,
        seconds_joint=training.epochs * joint_epoch,
        trained=trained(params, setup),
    )


def trained(params: Params, setup: Setup) -> float | None:
    """Seconds that training took on this machine, the study's first seed, with the warm-up, the fit and the models of
    one modality that it starts from, as the stages noted; None where one of them has not been run here in one go.
    """
    dataset, method, family = setup.dataset, setup.resolved.name, setup.resolved.entry.family
    stages = [("train", method)]
    if family == "from-unimodal":
        stages += [("train", name) for name in params.unimodal_of(dataset).values()]
    elif family == "from-warmup":
        stages += [("warmup", params.warmup_of(dataset, method)), ("prototypes", params.fit_of(dataset, method))]
    took = []
    for stage, name in stages:
        # A run's key asks for the manifest alone, so that the data at hand serve for all of them.
        of = replace(setup, params=params, resolved=params.method(dataset, name), seed=params.study.seeds[0])
        took.append(noted(of, stage))
    known = [seconds for seconds in took if seconds is not None]
    return sum(known) if len(known) == len(took) else None


def noted(setup: Setup, stage: str) -> float | None:
    """Seconds that a stage noted of its own work."""
    inputs: list[Path] = []
    if stage == "prototypes":
        inputs = [warmup_path(setup.dataset, setup.params.warmup_of(setup.dataset, setup.resolved.name), setup.seed)]
    elif stage == "train":
        inputs = start_files(setup.params, setup.dataset, setup.resolved.name, setup.seed)
    if not all(path.is_file() for path in inputs):
        return None
    return clock.work(Path(), setup.key(stage, inputs), setup.data.device.type)


def epoch_seconds(steps: int, step: float, epoch: Epoch) -> float:
    """Seconds of an epoch of so many steps."""
    return steps * step + epoch.seconds


def fitted(params: Params, dataset: str, method: str) -> Fit | None:
    """What the fit took that the method shares, of the study's first seed: as stage prototypes noted on this machine,
    else measured by fitting again on the same warm-up; None without that warm-up.
    """
    owner, seed = params.fit_of(dataset, method), params.study.seeds[0]
    start = warmup_path(dataset, params.warmup_of(dataset, owner), seed)
    if not start.is_file():
        return None
    setup = Setup.open(params, dataset, owner, seed)
    known = noted(setup, "prototypes")
    if known is not None:
        return Fit(seconds=known, measured="stage")
    seconds = stopwatch(setup.data.device)
    before = seconds()
    prototypes.fit(setup, start)
    return Fit(seconds=seconds() - before, measured="again")


def timed(own: Steps, joint: Steps) -> Time:
    """Rounds of `cycle` steps of each, in turns, after one round to warm up; which goes first alternates."""
    on_gpu = own.device.type == "cuda"
    clock = stopwatch(own.device)
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
