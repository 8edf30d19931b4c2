"""The contract of a training method: how it departs from joint training. The loop (training/loop.py) calls these hooks
and nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from equimodal.models.framework import MultimodalModel, Outputs
from equimodal.models.padded import Input
from equimodal.objectives import Objective
from equimodal.settings.method import MethodSettings

if TYPE_CHECKING:
    from equimodal.training.loop import Loop


class Batch(NamedTuple):
    """One training batch: model inputs {m: [B, ...]} (floats, augmented; sequences as Padded), labels [B] (int64
    classes, or a regression's floats).
    """

    inputs: dict[str, Input]
    labels: Tensor


@dataclass(frozen=True)
class Task:
    """What a method may know before training: the objective, epochs, steps per epoch, the run's seed, and the mean
    evaluation input of every class.

    `class_means` is {m: [K, ...]}, or None for methods that do not ask for it (`needs_class_means`).
    """

    objective: Objective
    epochs: int
    steps: int
    seed: int
    class_means: dict[str, Input] | None = None

    @property
    def classes(self) -> int:
        """K: classes, or grid values of a regression."""
        return self.objective.classes


class Step(NamedTuple):
    """What a method computes on a batch: the loss to minimise, the fused logits [B, outputs] of the samples, and
    scalars to log (detached).
    """

    loss: Tensor
    logits: Tensor
    logs: dict[str, Tensor]


class Method(nn.Module):
    """One way of training. Subclasses override only what differs; the defaults are joint training.

    A method is a module: it holds the `model`, and whatever it trains beside it (prototypes, auxiliary networks) as
    submodules, so that device moves, mixed precision, DDP and checkpoints take all of it. Only `model` is exported.

    Hooks, in the loop's order: `prepare` (once), then each epoch `begin_epoch`, each batch `training_step` (which calls
    `forward`, then `loop.optimize`, which calls `after_backward` between the backward pass and the optimizer's step),
    then `end_epoch`.
    """

    paper: ClassVar[str] = ""
    needs_class_means: ClassVar[bool] = False

    def __init__(self, model: MultimodalModel, settings: MethodSettings, task: Task) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.task = task

    @classmethod
    def modalities(cls, settings: MethodSettings, available: Iterable[str]) -> list[str]:
        """The modalities that the method's model has, of those available; a UserError when it cannot work with them."""
        return list(available)

    @classmethod
    def adapt(cls, model: MultimodalModel, settings: MethodSettings, structure: dict[str, Any]) -> MultimodalModel:
        """Change the freshly built model's structure (another head). `structure` is what `structure()` said of a saved
        model, else {}.
        """
        return model

    def structure(self) -> dict[str, Any]:
        """JSON-able facts that `adapt` needs to rebuild the model as it now is (classifiers added while training)."""
        return {}

    def prepare(self, loop: "Loop") -> None:
        """Once, after the optimizer exists and before the first epoch (or before a resumed state is loaded)."""

    def main_parameters(self) -> list[nn.Parameter]:
        """Parameters of the main optimizer; the framework's, so that a warm-up's optimizer state fits.

        What a method adds in `begin_epoch` (or `load_extra`) comes at the end, in the order in which it was added: the
        loop gives it to the optimizer.
        """
        return list(self.model.parameters())

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Further optimizers of the method's own parameters, by name:
        saved and resumed with the run, stepped by the method.
        """
        return {}

    def begin_epoch(self, epoch: int, loop: "Loop") -> None:
        """Before an epoch's first batch (epochs count from 0); the place to add parameters, see `main_parameters`."""

    def forward(self, batch: Batch) -> Step:
        """Loss of a batch. Default: the objective's loss (cross entropy) on the fused logits."""
        outputs = self.model(batch.inputs)
        return Step(self.loss(batch, outputs), outputs.logits, {})

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """Loss from a plain forward pass."""
        return self.task.objective.loss(outputs.logits, batch.labels)

    def training_step(self, batch: Batch, loop: "Loop") -> Step:
        """One batch. Override to take several backward passes or optimizer steps;
        call the module through `loop.module`.
        """
        step: Step = loop.module(batch)
        loop.optimize(step.loss)
        return step

    def cycle(self) -> int:
        """Batches after which the work of a step repeats; the cost of training is measured over one cycle."""
        return 1

    def after_backward(self, loop: "Loop") -> None:
        """Edit gradients (`p.grad`) before the optimizer's step."""

    def end_epoch(self, epoch: int, loop: "Loop") -> dict[str, float]:
        """After an epoch's last batch; returns scalars to log."""
        return {}

    def extra(self) -> dict[str, Any]:
        """JSON-able state beyond the module's tensors, saved in checkpoints."""
        return {}

    def load_extra(self, state: dict[str, Any]) -> None:
        """Restore what `extra` gave; may add parameters before the tensors are loaded."""
