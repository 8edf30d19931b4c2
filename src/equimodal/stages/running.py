"""What the training stages share: the loop's checkpoint folder, progress lines, live tracking, and a clean end."""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from equimodal.engines.closure import code_files, contents
from equimodal.engines.declarations import encoder_modules
from equimodal.engines.layout import chosen_path, fit_path, unimodal_path, warmup_path
from equimodal.methods.base import Method
from equimodal.params import Params
from equimodal.stages.setup import Setup
from equimodal.store import digest, read_tensors, stated_sha256, write_json
from equimodal.tracking import RunInfo, Tracker, clock
from equimodal.training.device import is_first_process, stopwatch
from equimodal.training.loop import Loop


class Run:
    """One training stage from its start to its outputs; a context manager, so that tracking hears how it ended."""

    def __init__(self, setup: Setup, stage: str, key: str, part: str = "") -> None:
        """`part` tells runs of one stage apart that have a checkpoint each."""
        self.setup = setup
        self.stage = stage
        self.key = key
        self.name = f"{stage}-{setup.dataset}-{setup.resolved.name}-{setup.seed}{part}"
        self.folder = Path(".checkpoints") / self.name
        self.meta = setup.meta(stage, key)
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        info = RunInfo.from_meta({**self.meta, "device": str(self.setup.data.device)})
        # DDP runs the command once per process; the run is tracked once.
        if is_first_process():
            goes_on = (self.folder / "state.safetensors").is_file()
            self._started = clock.start(self.key, goes_on)
            self._worked = None if goes_on else stopwatch(self.setup.data.device)
            self._before = self._worked() if self._worked else 0.0
            self.tracker = Tracker.start(self.setup.params, info, self._started)
        else:
            self.tracker = Tracker("", None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and is_first_process():
            # Of a run that went on after a kill only a part would be known.
            device = self.setup.data.device.type
            work = {device: self._worked() - self._before} if self._worked else None
            clock.end(self.key, self._started, work)
        self.tracker.__exit__(kind, error, trace)

    def loop(self, method: Method) -> Loop:
        """The loop for this run."""
        setup = self.setup
        label = f"{self.stage} of {setup.dataset} {setup.resolved.name}, seed {setup.seed}"
        training = setup.params.training_of(setup.dataset)
        # A checkpoint of other code is not continued: half a run by each would be neither.
        code = code_digest(self.stage, setup.kind.__module__, *encoder_modules(setup.params, setup.dataset))
        about = setup.about()
        key = digest({"run": self.key, "code": code, "about": about})
        runtime, report = setup.params.runtime, self._report
        return Loop(method, setup.data, training, runtime, setup.seed, self.folder, key, label, report, about)

    def begun(self, inputs: list[Path]) -> Loop:
        """The loop of the method from what it starts from (`start_files`), or where a killed run ended."""
        family, setup = self.setup.resolved.entry.family, self.setup
        method = setup.method()
        if family == "from-warmup":
            method.load_fit(read_tensors(inputs[1])[0])
        elif family == "from-unimodal":
            modalities = setup.params.unimodal_of(setup.dataset)
            method.load_unimodal(
                {
                    name: read_tensors(path, stated_sha256(chosen_path(setup.dataset, own, setup.seed)))[0]
                    for (name, own), path in zip(modalities.items(), inputs, strict=True)
                }
            )
        loop = self.loop(method)
        if not loop.resume() and family == "from-warmup":
            loop.start_from(inputs[0])
        return loop

    def train(self, loop: Loop, until: int | None = None) -> None:
        """Run the loop; says where it takes up."""
        for (
            row
        ) in loop.progress.history:  # epochs before a kill, or of the warm-up; those that the run has are not doubled
            self.tracker.epoch(row["epoch"], row["metrics"])
        if loop.progress.epoch and loop.fabric.is_global_zero:
            print(f"{loop.label}: continuing after epoch {loop.progress.epoch - 1}", file=sys.stderr, flush=True)
        self._last = time.monotonic()
        loop.run(until)

    def finish(self, loop: Loop, write: Callable[[], None]) -> None:
        """Write the outputs, then drop the checkpoint: a kill in between loses nothing."""
        if loop.fabric.is_global_zero:
            write()
            self.discard()
        loop.fabric.barrier()

    def discard(self) -> None:
        """Drop the checkpoint."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _report(self, epoch: int, metrics: dict[str, float]) -> None:
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        self.tracker.epoch(epoch, metrics, seconds)
        names = ("train/loss", *(f"{part}/{self.setup.data.objective.measure}" for part in ("train", "val", "test")))
        shown = "  ".join(f"{name} {metrics[name]:.4f}" for name in names if name in metrics)
        print(f"epoch {epoch:3d}  {shown}  {seconds:.1f} s", file=sys.stderr, flush=True)


def start_files(params: Params, dataset: str, method: str, seed: int) -> list[Path]:
    """What a method begins with, beside the data: the warm-up's state and the fit on it, or the models of one modality
    each in the order of the dataset's modalities; nothing from scratch.
    """
    family = params.family(method)
    if family == "from-warmup":
        return [
            warmup_path(dataset, params.warmup_of(dataset, method), seed),
            fit_path(dataset, params.fit_of(dataset, method), seed),
        ]
    if family == "from-unimodal":
        return [unimodal_path(dataset, name, seed) for name in params.unimodal_of(dataset).values()]
    return []


def code_digest(stage: str, *modules: str) -> str:
    """Digest of every file that a stage runs with further modules: its method's, its encoders'."""
    return digest(contents(code_files(f"equimodal.stages.{stage}", *modules)))


def write_curves(path: Path, run: Run, loop: Loop) -> None:
    """curves.json: the run's identity, its epochs' metrics, the epoch that each selection rule chose, and the sha256 of
    its weights, by which they are known to be whole when they are read.
    """
    progress = loop.progress
    weights = {f"{rule}.safetensors": sha256 for rule, sha256 in progress.weights.items()}
    write_json(path, {"meta": run.meta, "epochs": progress.history, "selected": progress.selected, "weights": weights})
