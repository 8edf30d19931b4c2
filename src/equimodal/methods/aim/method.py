"""AIM as a training method of the workbench: modulation after a joint warm-up, prototypes and PDM fitted on it (aim.md
sections 2 to 6).
"""

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from equimodal.methods.aim.fitting import health
from equimodal.methods.aim.modulation import Logs
from equimodal.methods.aim.modulator import Modulator
from equimodal.methods.aim.settings import AIMSettings
from equimodal.methods.aim.stepping import Stepper
from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.metrics.running import RunningMeans
from equimodal.models.framework import MultimodalModel
from equimodal.models.padded import Input

log = logging.getLogger(__name__)

SATURATED = 0.95
CHECKED = ("/s", "/s_aux", "/L_re", "/saturated_low", "/saturated_high")


class AIMMethod(Method[AIMSettings]):
    """L = CE + lambda L_mod + Eq. 5 on the joint warm-up of `start_epoch` epochs; inference is the plain framework.

    The stages around it: `fit` on the frozen warm-up gives `fit_state`, which training takes by `load_fit`. Settings
    make the variants.
    """

    paper = "arXiv 2508.19769"
    needs_class_means = True

    def __init__(self, model: MultimodalModel, settings: AIMSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self.modulator = Modulator(model, settings, task.objective, task.class_means, task.seed)
        self.stepper = Stepper(self.modulator, task.class_means)
        self._fitted: dict[str, Tensor] = {}
        self._checked = RunningMeans()
        # DDP reduces the framework's gradients; AIM's own parts average theirs (methods/distributed.py), since
        # the PDM is trained by backward passes that DDP does not see.
        own = [*self.modulator.named_parameters(), *self.modulator.named_buffers()]
        self._ddp_params_and_buffers_to_ignore = [f"modulator.{name}" for name, _ in own]

    def fit(self, batches: Callable[[], Iterator[Batch]], progress: bool = False) -> dict[str, Any]:
        """Fit prototypes on the model as it is, frozen, and take them up; try the PDM. Returns the log
        (fitting.fit_modulator).

        They are fitted whatever the variant needs: variants with the same settings of the fit share it.

        Args:
            batches: gives an endless iterator of training batches, the same at every call.
            progress: show on stderr how far it is.
        """

        def samples() -> Iterator[tuple[dict[str, Input], Tensor]]:
            return ((batch.inputs, batch.labels) for batch in batches())

        log, self._fitted = self.stepper.fit(samples, pdm=True, progress=progress)
        self.load_fit(self._fitted)
        return log

    def fit_state(self) -> dict[str, Tensor]:
        """What `fit` made, for `load_fit` of any variant."""
        return self._fitted

    def load_fit(self, tensors: dict[str, Tensor]) -> None:
        """Take up a fit, as far as this variant uses it."""
        self.stepper.load_fit(tensors)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return self.stepper.optimizers

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        self._checked = RunningMeans()
        self.stepper.begin_epoch(trainer.rate)
        classes, batch = self.task.classes, trainer.training.batch_size
        riding = self.settings.ride_fraction * classes
        if self.stepper.count == 0 and self.modulator.rides and riding > batch:
            log.warning(
                "aim: %d prototypes ride with each batch of %d: a step costs %.1f times joint's before all else;"
                " aim.ride_fraction lets fewer ride, at some points of accuracy",
                riding,
                batch,
                1 + riding / batch,
            )

        if self.stepper.count == 0 and self.modulator.unsteady():
            log.warning(
                "aim: encoders without normalisation tend to diverge while few prototypes ride: set"
                " aim.ride_fraction: 1"
            )

    def forward(self, batch: Batch) -> Step:
        terms = self.stepper.terms(batch.inputs, batch.labels)
        losses = [self.task.objective.loss(terms.logits, batch.labels)] if self.settings.task_loss else []
        if terms.loss is not None:
            losses.append(terms.loss)
        return Step(losses[0] if len(losses) == 1 else losses[0] + losses[1], terms.logits, terms.logs)

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        step: Step = trainer.module(batch)
        trainer.optimize(step.loss)
        self.stepper.step()
        self._account(step.logs)
        return step

    def _account(self, logs: Logs) -> None:
        self._checked.add({name: value for name, value in logs.items() if name.endswith(CHECKED)})

    def end_epoch(self, epoch: int, trainer: Trainer) -> dict[str, float]:
        for warning in self.warnings():
            log.warning("aim, epoch %d: %s", epoch, warning)
        return self.stepper.end_epoch()

    def warnings(self) -> list[str]:
        """The health checks of aim.md sections 7 and 12 that fail on the epoch's means so far, a line each."""
        means = self._checked.means()
        blocks = [name.removesuffix("/s") for name in means if name.endswith("/s")]
        found = []
        saturated = [b for b in blocks if max(means[f"{b}/saturated_low"], means[f"{b}/saturated_high"]) > SATURATED]
        if saturated:
            found.append(
                f"over {100 * SATURATED:.0f} % of samples have a true-class probability under 0.01 or over"
                f" 0.99 at {', '.join(saturated)}: see aim.tau"
            )
        return found + health(means, self.task.classes)

    def cycle(self) -> int:
        own = self.modulator.auxiliaries is not None and self.settings.lambda_mod > 0
        return math.lcm(self.settings.pdm.every, self.settings.aux_every) if own else 1

    def extra(self) -> dict[str, Any]:
        return {"steps": self.stepper.count}

    def load_extra(self, state: dict[str, Any]) -> None:
        self.stepper.count = state["steps"]
