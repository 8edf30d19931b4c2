"""The contract of a training method: how it departs from joint training (`Method`, whose hooks the loop of
training/loop.py calls), and what it may ask of the loop that trains it (`Trainer`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from equimodal.models.framework import MultimodalModel, Outputs
from equimodal.models.padded import Input
from equimodal.objectives import Objective
from equimodal.settings.method import MethodSettings
from equimodal.settings.training import TrainingSettings

Split = Literal["train", "held-out", "val", "test"]
Own = TypeVar("Own", bound=MethodSettings)


class Batch(NamedTuple):
    """One training batch: model inputs {m: [B, ...]} (floats, augmented; sequences as Padded), labels [B] (int64
    classes, or a regression's floats).
    """

    inputs: dict[str, Input]
    labels: Tensor


@dataclass(frozen=True)
class Task:
    """What a method may know before training: the objective, the run's epochs, steps per epoch, the run's seed, and the
    mean evaluation input of every class.

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


@dataclass(frozen=True)
class SplitFeatures:
    """What a model makes of a split, evaluation inputs and mode, in the split's order.

    Attributes:
        features: pooled features z^m {m: [n, d_m]}.
        readouts: logits {m: [n, outputs]} of each modality alone, by the fusion head's estimator.
        logits: predictions' logits [n, outputs].
        labels: [n].
    """

    features: dict[str, Tensor]
    readouts: dict[str, Tensor]
    logits: Tensor
    labels: Tensor


class Trainer(Protocol):
    """The training loop, as methods see it.

    Attributes:
        training: settings of the section `training`.
        seed: the run's.
        rate: this epoch's learning rate over the first's (training.schedule).
        device: where batches and model are.
        module: the method as it is called in a step (`module(batch)`), so that several processes stay alike.
    """

    training: TrainingSettings
    seed: int
    rate: float
    device: torch.device
    module: Callable[..., Any]

    @property
    def processes(self) -> int:
        """Of this training; each has its own batches, and the gradients are the mean over them."""

    def optimize(self, loss: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Backward pass, `after_backward`, clipping (training.clip_norm) and the step of the main optimizer, or of one
        of the method's own (`Method.optimizers`); its gradients are cleared.
        """

    def gradients(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """Gradients of a part of the loss, before `optimize` takes the whole: the mean over the processes, zeros for a
        parameter that it does not reach. Nothing is added to `p.grad`, and the graph stays. What overflows float16
        (16-mixed) is 0.

        Args:
            loss: kept by the method's `forward`, and made of nothing that it returns with a graph: Fabric guards that
                in mixed precision.
        """

    def backward(self, loss: Tensor) -> None:
        """Backward pass alone: the gradients, which are the mean over the processes, stay, and the next `optimize` adds
        to them. In 16-mixed they are, until then, times the scale of the losses.
        """

    def autocast(self) -> AbstractContextManager[Any]:
        """The run's precision, for a forward pass outside `module`."""

    def total(self, value: Tensor) -> Tensor:
        """Sum of a tensor over the processes; the value itself when there is one."""

    def features(self, split: Split, model: MultimodalModel | None = None) -> SplitFeatures:
        """Features, readouts, logits and labels of a split, without gradient; mode and buffers of the model (by
        default the method's) stay as they are.
        """

    def hold_out(self, share: float) -> None:
        """Keep a share of the training split, drawn by class from the run's seed, out of all batches from now on: it
        is split "held-out" of `features`. To be called in `prepare`, so that a resumed run does it again.

        Raises:
            UserError: too few samples to hold any out, or to leave any.
        """

    def rehearse(self, method: "Method[Any]", epochs: int, name: str, scheduled: bool = False) -> None:
        """Train another method, built around a copy of the model, for some epochs with an optimizer of its own. Nothing
        of this run moves: no generator, no buffer, no checkpoint.

        Args:
            name: what its order and augmentation are seeded by, beside the run's seed.
            scheduled: its learning rates are those of this run's epochs from the present one on, instead of the present
                one throughout.
        """


class Method(nn.Module, Generic[Own]):
    """One way of training. Subclasses override only what differs; the defaults are joint training.

    A method is a module: it holds the `model`, and whatever it trains beside it (prototypes, auxiliary networks) as
    submodules, so that device moves, mixed precision, DDP and checkpoints take all of it. Only `model` is exported.

    Hooks, in the loop's order: `prepare` (once), then each epoch `begin_epoch`, each batch `training_step` (which calls
    `forward`, then `trainer.optimize`, which calls `after_backward` between the backward pass and the optimizer's
    step), then `end_epoch`; once the model is measured and kept, `after_evaluation`. Before all of it, a method that
    starts from other runs' files has taken them up (`load_fit`, `load_unimodal`; the registry's `family` says which).
    """

    paper: ClassVar[str] = ""
    needs_class_means: ClassVar[bool] = False

    def __init__(self, model: MultimodalModel, settings: Own, task: Task) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.task = task

    @classmethod
    def modalities(cls, settings: Own, available: Iterable[str]) -> list[str]:
        """The modalities that the method's model has, of those available; a UserError when it cannot work with them."""
        return list(available)

    @classmethod
    def run_epochs(cls, settings: Own, epochs: int) -> int:
        """Epochs of a run, given training.epochs: 1 of a method that only measures what others have trained."""
        return epochs

    @classmethod
    def adapt(cls, model: MultimodalModel, settings: Own, structure: dict[str, Any]) -> MultimodalModel:
        """Change the freshly built model's structure (another head). `structure` is what `structure()` said of a saved
        model, else {}.
        """
        return model

    def structure(self) -> dict[str, Any]:
        """JSON-able facts that `adapt` needs to rebuild the model as it now is (classifiers added while training)."""
        return {}

    def prepare(self, trainer: Trainer) -> None:
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

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        """Before an epoch's first batch (epochs count from 0); the place to add parameters, see `main_parameters`."""

    def forward(self, batch: Batch) -> Step:
        """Loss of a batch. Default: the objective's loss (cross entropy) on the fused logits."""
        outputs = self.model(batch.inputs)
        return Step(self.loss(batch, outputs), outputs.logits, {})

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """Loss from a plain forward pass."""
        return self.task.objective.loss(outputs.logits, batch.labels)

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        """One batch. Override to take several backward passes or optimizer steps; call the module through
        `trainer.module`.
        """
        step: Step = trainer.module(batch)
        trainer.optimize(step.loss)
        return step

    def cycle(self) -> int:
        """Batches after which the work of a step repeats; the cost of training is measured over one cycle."""
        return 1

    def after_backward(self, trainer: Trainer) -> None:
        """Edit gradients (`p.grad`) before the optimizer's step."""

    def end_epoch(self, epoch: int, trainer: Trainer) -> dict[str, float]:
        """After an epoch's last batch; returns scalars to log."""
        return {}

    def after_evaluation(self, epoch: int, metrics: dict[str, float], trainer: Trainer) -> None:
        """After an epoch's model has been measured and, where a rule selects it, exported: the place to change the
        model for the next epoch. Not called after the last one, whose model is the run's.

        Args:
            metrics: what was measured, as curves.json has it ("val/accuracy", ...).
        """

    def fit(self, batches: Callable[[], Iterator[Batch]], progress: bool = False) -> dict[str, Any]:
        """Family from-warmup: fit what the method needs on the warmed-up model, which stays as it is (stage
        `prototypes`); by default there is nothing to fit. Returns a JSON-able log.

        Args:
            batches: gives an endless iterator of training batches, the same at every call.
            progress: show on stderr how far it is.
        """
        return {}

    def fit_state(self) -> dict[str, Tensor]:
        """What `fit` made, for `load_fit` of every variant with equal settings of the fit (`WarmupSettings.fit`)."""
        return {}

    def load_fit(self, tensors: dict[str, Tensor]) -> None:
        """Family from-warmup: take up a fit, before training. The warm-up's weights and optimizer come after it."""

    def load_unimodal(self, models: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Family from-unimodal: take up trained models of one modality each, {m: state of a MultimodalModel}, of the
        same seed, chosen on validation. By default every encoder starts from its own modality's.
        """
        for name, state in models.items():
            prefix = f"encoders.{name}."
            weights = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            self.model.encoders[name].load_state_dict(weights)

    def extra(self) -> dict[str, Any]:
        """JSON-able state beyond the module's tensors, saved in checkpoints."""
        return {}

    def load_extra(self, state: dict[str, Any]) -> None:
        """Restore what `extra` gave; may add parameters before the tensors are loaded."""
