"""The training monitor as a callback of Lightning."""

from typing import Any

from equimodal.diagnosis.callback import MonitorCallback, framework_class

# A Trainer of either package takes a list with callbacks of the other: it only looks for methods by name.
Callback = framework_class(("lightning.pytorch", "pytorch_lightning"), "Callback", "LightningMonitor", "lightning")


class LightningMonitor(MonitorCallback, Callback):  # type: ignore[misc, valid-type]
    """A `TrainingMonitor` for Lightning (package `lightning`, or `pytorch_lightning`):

        watch = equimodal.LightningMonitor({"audio": "model.audio", "visual": "model.visual"})
        Trainer(callbacks=[watch]).fit(module, loader)
        report = equimodal.diagnose(..., training=watch.monitor)

    The names are those of submodules of the LightningModule. Each `fit` starts a new monitor.

    A step is counted before the optimizer's, with the gradients that Lightning has then: accumulated over
    `accumulate_grad_batches`, averaged over processes (DDP), divided by the scale of mixed precision, and not yet
    clipped. Of an optimizer that divides by the scale itself (fused Adam with 16-mixed) they are still scaled. With
    several optimizers every step of each counts. A step that 16-mixed skips because of an overflow counts too: its
    epoch has no finite mean, and the report leaves `gradient` and `speed` of it out. FSDP and DeepSpeed split weights
    and gradients over processes: not for those.

    An epoch ends with Lightning's epoch of training, also one that `max_steps` cuts short.

    Raises:
        UserError: when asked for, Lightning is not installed; when training begins, what a `TrainingMonitor` refuses.
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin(pl_module)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.monitor.after_backward()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.monitor.end_epoch()
