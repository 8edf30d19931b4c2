"""The one training loop. Methods change what happens in it through the hooks of methods/base.py, never the loop itself;
what they may ask of it is `Trainer` there.
"""

import copy
import dataclasses
import math
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from equimodal.errors import UserError
from equimodal.methods.base import Batch, Method, Split, SplitFeatures
from equimodal.methods.distributed import average
from equimodal.metrics.running import RunningMeans
from equimodal.models.framework import MultimodalModel
from equimodal.seeding import derive, generator
from equimodal.settings.training import RuntimeSettings, TrainingSettings
from equimodal.training import state
from equimodal.training.checkpoint import Checkpoint
from equimodal.training.data import DataModule
from equimodal.training.measure import measures, predict
from equimodal.training.progress import Progress
from equimodal.training.schedule import adopt, build_optimizer, rate_factor


class Loop:
    """Trains one method with one seed.

    Args:
        method: the method with its model.
        data: the dataset.
        training, runtime: settings; the run's full length, also for a warm-up that stops earlier, is the task's.
        seed: seeds order, augmentation and the global generator of every epoch.
        folder: .checkpoints/<stage key>/, written each epoch; removed by the stage when its outputs are in place.
        key: digest of everything that determines the run; a checkpoint with another key is not resumed.
        label: the run in words, for messages.
        on_epoch: called with (epoch, metrics) after every epoch, for live tracking and progress.
        about: what exported weights say of themselves; None where nobody is to use them.
    """

    def __init__(
        self,
        method: Method[Any],
        data: DataModule,
        training: TrainingSettings,
        runtime: RuntimeSettings,
        seed: int,
        folder: Path,
        key: str,
        label: str,
        on_epoch: Callable[[int, dict[str, float]], None] | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        from equimodal.training.device import launch

        self.data = data
        self.training = training
        self.seed = seed
        self.checkpoint = Checkpoint(folder, key)
        self.label = label
        self.on_epoch = on_epoch
        self.about = about
        self.progress = Progress()
        self.fabric = launch(runtime)
        self.device: torch.device = self.fabric.device
        self.precision = self.fabric.strategy.precision
        self.stream: tuple[str, ...] = ()
        self.rate = 1.0
        self.epochs = method.task.epochs
        self._check_batches()
        self._take(method)

    def _check_batches(self) -> None:
        size, samples = self.training.batch_size, self.data.count("train")
        if self.data.steps(size) < self.processes:
            raise UserError(
                f"{self.label}: {samples} training samples give {self.data.steps(size)} batches of {size} for"
                f" {self.processes} processes: lower training.batch_size or runtime.devices"
            )

    def _take(self, method: Method[Any]) -> None:
        """Make `method` the one that is trained, with an optimizer of its own."""
        self.method = method.to(self.device)
        self.plain_optimizer = build_optimizer(method.main_parameters(), self.training.optimizer)
        self._at_setup = len(self.plain_optimizer.param_groups[0]["params"])
        self.module, self.optimizer = self.fabric.setup(self.method, self.plain_optimizer, move_to_device=False)
        method.prepare(self)

    @property
    def processes(self) -> int:
        """Of this training."""
        return int(self.fabric.world_size)

    @property
    def measured(self) -> tuple[Split, ...]:
        """The splits that every epoch is measured on; each is the selection rule of that name, too."""
        return ("val", "test") if self.training.test_every_epoch else ("val",)

    def start_from(self, path: Path) -> None:
        """Continue a joint warm-up: its weights, optimizer state, epoch and curves. Selection starts after it."""
        meta = state.start_from(path, self.method, self.plain_optimizer)
        self.precision.load_state_dict(meta["scaler"])
        self.progress = Progress(epoch=meta["epoch"], history=meta["history"])

    def resume(self) -> bool:
        """Take up an interrupted run, if its checkpoint is of this very run and whole."""
        if not self.checkpoint.state.is_file():
            return False
        try:
            found = self.checkpoint.read()
        except UserError as error:
            found = None
            if self.fabric.is_global_zero:
                print(f"{self.label}: {error}: starting afresh", file=sys.stderr, flush=True)
        self.fabric.barrier()  # every process has looked before one deletes
        if found is None:
            if self.fabric.is_global_zero:
                shutil.rmtree(self.checkpoint.folder)
            return False
        tensors, meta = found
        state.restore(tensors, meta, self.method, self.plain_optimizer)
        self.precision.load_state_dict(meta["scaler"])
        self.progress = Progress(**{field.name: meta[field.name] for field in dataclasses.fields(Progress)})
        return True

    def run(self, until: int | None = None) -> Progress:
        """Train to the end, or until `until` epochs are done."""
        while self.progress.epoch < (until if until is not None else self.epochs):
            epoch = self.progress.epoch
            metrics = self._train(epoch) | self.evaluate()
            for split in self.measured:
                self._check_finite({"val": "validation"}.get(split, split), metrics[f"{split}/loss"], epoch)
            self.progress.record(metrics)
            self._select(epoch, metrics)
            if self.progress.epoch < self.epochs:
                self.method.after_evaluation(epoch, metrics, self)
            self.save(self.checkpoint.state)
            if self.fabric.is_global_zero:
                self.checkpoint.keep(self.progress.selected)
            if self.on_epoch is not None and self.fabric.is_global_zero:
                self.on_epoch(epoch, metrics)
        return self.progress

    def evaluate(self) -> dict[str, float]:
        """The measures of an epoch, as curves.json has them."""
        values: dict[str, float] = {}
        for split in self.measured:
            found = predict(self.method.model, self.data, split, self.training.eval_batch_size)
            values |= measures(found, self.method.task.objective, split)
        return values

    def optimize(self, loss: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Backward pass, the method's edits of the gradients, clipping of the stepped parameters' norm, the step of the
        main optimizer or of the one given.
        """
        own = self.plain_optimizer if optimizer is None else optimizer
        self.backward(loss)
        self.precision.unscale_gradients(own)  # 16-mixed: methods see true gradients; otherwise nothing happens
        self.method.after_backward(self)
        if self.training.clip_norm is not None:
            nn.utils.clip_grad_norm_(
                [p for group in own.param_groups for p in group["params"]], self.training.clip_norm
            )
        if optimizer is None:
            self.optimizer.step()
        else:
            self.precision.optimizer_step(own)
        own.zero_grad(set_to_none=True)

    def gradients(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """See `Trainer`."""
        scaler = getattr(self.precision, "scaler", None)
        scale = torch.ones_like(loss) if scaler is None else scaler.scale(torch.ones_like(loss))
        # Not through fabric: DDP's reducer is for the one backward pass that `optimize` takes.
        found = torch.autograd.grad(loss, parameters, scale, retain_graph=True, materialize_grads=True)
        if scaler is not None:
            found = tuple((gradient / scale).nan_to_num_(0, 0, 0) for gradient in found)
        return list(average(*found))

    def backward(self, loss: Tensor) -> None:
        """See `Trainer`."""
        self.fabric.backward(loss)
        self._average_late()

    def autocast(self) -> AbstractContextManager[Any]:
        """The run's precision."""
        return self.fabric.autocast()

    def total(self, value: Tensor) -> Tensor:
        """Sum over the processes; the value itself when there is one."""
        return self.fabric.all_reduce(value, reduce_op="sum") if self.processes > 1 else value  # type: ignore[return-value]

    def features(self, split: Split, model: MultimodalModel | None = None) -> SplitFeatures:
        """See `Trainer`; on the run's device."""
        found = predict(model or self.method.model, self.data, split, self.training.eval_batch_size)
        features, readouts = (
            {name: value.to(self.device) for name, value in part.items()} for part in (found.features, found.readouts)
        )
        return SplitFeatures(features, readouts, found.logits.to(self.device), found.labels.to(self.device))

    def hold_out(self, share: float) -> None:
        """See `Trainer`."""
        self.data = self.data.hold_out(share, generator(self.seed, "hold-out"))
        self._check_batches()

    def rehearse(self, method: Method[Any], epochs: int, name: str, scheduled: bool = False) -> None:
        """See `Trainer`."""
        devices = [self.device] if self.device.type == "cuda" else []
        scaler = copy.deepcopy(self.precision.state_dict())
        with torch.random.fork_rng(devices):
            other = copy.copy(self)
            other.stream = (*self.stream, name)
            other._take(method)
            for epoch in range(epochs):
                other._train(epoch, rate_at=self.progress.epoch + (epoch if scheduled else 0))
        self.precision.load_state_dict(scaler)

    def batches(self, epoch: int) -> Any:
        """The training batches of an epoch, the same for every method with this seed."""
        shuffle = generator(self.seed, *self.stream, "order", epoch)
        draw = generator(self.seed, *self.stream, "augment", epoch, self.fabric.global_rank, device=self.device)
        size = self.training.batch_size
        # Every process takes as many batches, or they would wait for each other.
        shared = self.data.steps(size) // self.processes * self.processes
        share = slice(self.fabric.global_rank, shared, self.processes)
        for inputs, labels in self.data.training_batches(size, shuffle, draw, self.training.augment, share):
            yield Batch(inputs, labels)

    def save(self, path: Path, **facts: Any) -> None:
        """Write the whole state of the run, and JSON-able `facts` beside (or instead of) its own."""
        if self.fabric.is_global_zero:
            meta = {
                "key": self.checkpoint.key,
                "modalities": self.method.model.modalities,
                **vars(self.progress),
                "scaler": self.precision.state_dict(),
                **facts,
            }
            state.save(path, self.method, self.plain_optimizer, meta)

    def _train(self, epoch: int, rate_at: int | None = None) -> dict[str, float]:
        """One epoch; its learning rate is that of epoch `rate_at`, by default its own."""
        torch.manual_seed(derive(self.seed, *self.stream, "epoch", epoch))
        now = epoch if rate_at is None else rate_at
        self.rate = rate_factor(now, self.epochs, self.training.schedule)
        rate = self.training.optimizer.lr * self.rate
        for group in self.plain_optimizer.param_groups:
            group["lr"] = rate
        self.method.train()
        self.method.begin_epoch(epoch, self)
        adopt(self.plain_optimizer, self.method.main_parameters())
        logged = RunningMeans()
        objective = self.method.task.objective
        seen, tally = 0, torch.zeros((), dtype=torch.float64, device=self.device)
        for batch in self.batches(epoch):
            step = self.method.training_step(batch, self)
            tally += objective.tally(step.logits.detach(), batch.labels)
            seen += len(batch.labels)
            logged.add({"train/loss": step.loss.detach(), **step.logs})
        logs = logged.means(self.total)
        self._check_finite("training", logs["train/loss"], epoch)
        total, count = self.total(torch.stack([tally, torch.full_like(tally, seen)])).tolist()
        logs[f"train/{objective.measure}"] = total / count
        logs["train/lr"] = rate
        logs |= self.method.end_epoch(epoch, self)
        self._share_buffers()
        return logs

    def _average_late(self) -> None:
        """Average over the processes the gradients of parameters that were added after DDP was set up,
        of which it knows nothing.
        """
        if self.processes > 1:
            for parameter in self.plain_optimizer.param_groups[0]["params"][self._at_setup :]:
                if parameter.grad is not None:
                    parameter.grad = self.fabric.all_reduce(parameter.grad, reduce_op="mean")

    def _share_buffers(self) -> None:
        """Give every process the first one's batch statistics: all then evaluate the model that is exported."""
        if self.processes > 1:
            first = self.fabric.broadcast([buffer.cpu() for buffer in self.method.buffers()])
            for buffer, value in zip(self.method.buffers(), first, strict=True):
                buffer.copy_(value)

    def _check_finite(self, which: str, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise UserError(
                f"{self.label}: the {which} loss became {loss} in epoch {epoch}; lower training.optimizer.lr"
                f" ({self.training.optimizer.lr:g}) or set training.clip_norm ({self.training.clip_norm}),"
                " and check the method's weights"
            )

    def _select(self, epoch: int, metrics: dict[str, float]) -> None:
        """Keep the weights that each selection rule would choose: highest accuracy (lowest MAE), then lowest loss, then
        the earlier epoch.
        """
        for rule in self.measured:
            if self.progress.choose(rule, self.method.task.objective.rank(metrics, rule)):
                self.export(self.checkpoint.chosen(rule, epoch), rule, epoch)
        self.progress.selected["last"] = epoch

    def export(self, path: Path, rule: str, epoch: int) -> None:
        """Write the weights that a selection rule chose after an epoch."""
        if self.fabric.is_global_zero:
            facts = {"rule": rule, "epoch": epoch, "about": self.about}
            self.progress.weights[rule] = state.export(path, self.method, facts)
