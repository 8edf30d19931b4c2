"""The training monitor as a callback of Hugging Face's Trainer."""

from typing import Any

from torch import nn

from equimodal.diagnosis.callback import MonitorCallback, framework_class

TrainerCallback = framework_class(("transformers",), "TrainerCallback", "HuggingFaceMonitor", '"transformers[torch]"')


class HuggingFaceMonitor(MonitorCallback, TrainerCallback):  # type: ignore[misc, valid-type]
    """A `TrainingMonitor` for `transformers.Trainer`:

        watch = equimodal.HuggingFaceMonitor({"text": "text_model", "image": "vision_model"})
        Trainer(model, arguments, train_dataset=..., callbacks=[watch]).train()
        report = equimodal.diagnose(..., training=watch.monitor)

    The names are those of submodules of the Trainer's model. Each `train` starts a new monitor.

    A step is counted before the optimizer's, with the gradients that the optimizer gets: accumulated over
    `gradient_accumulation_steps` (by Trainer's own rule, a mean or a sum), averaged over processes (DDP), divided by
    the scale of mixed precision, and clipped by `max_grad_norm`, which is 1.0 by default: Trainer calls nothing between
    the backward pass and its clipping. Clipping scales all gradients of a step alike, so that their ratios stay; pass
    `max_grad_norm=0` to see them unclipped. A step that fp16 skips because of an overflow counts too: its epoch has no
    finite mean, and the report leaves `gradient` and `speed` of it out. FSDP and DeepSpeed split weights and gradients
    over processes: not for those.

    An epoch ends with Trainer's, also one that `max_steps` cuts short.

    Raises:
        UserError: when asked for, transformers is not installed; when training begins, what a `TrainingMonitor`
            refuses.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: nn.Module, **kwargs: Any) -> None:
        self._begin(model)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.monitor.after_backward()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.monitor.end_epoch()
