"""Training steps of a method outside a run, to count or to time: the real loop, optimizer and batches, and no
checkpoint.
"""

from itertools import cycle, islice
from pathlib import Path

from equimodal.methods.base import Batch, Method
from equimodal.stages.setup import Setup
from equimodal.training.loop import Loop

BATCHES = 4  # different ones, taken in turns


class ShortLoop(Loop):
    """Rehearses one epoch whatever is asked for: what is rehearsed for several epochs is rehearsed once in as many."""

    def rehearse(self, method: Method, epochs: int, name: str, scheduled: bool = False) -> None:
        super().rehearse(method, 1, name, scheduled)


class Steps:
    """Steps of a freshly initialised method in one process, whatever `runtime.devices` says, on batches of the training
    split as augmented in the first epoch. What a method fits before training is not fitted, and class means are blank:
    values do not change what a step costs.

    Args:
        setup: what to train.
        method, batches: others than those, such as tensors without values.

    Attributes:
        cycle: steps after which the method's work repeats.
        model_weights, beside_weights: weights of the model as exported, and of what is trained beside it.
    """

    def __init__(self, setup: Setup, method: Method | None = None, batches: list[Batch] | None = None) -> None:
        runtime = setup.params.runtime.model_copy(update={"devices": 1})
        training = setup.params.training_of(setup.dataset)
        data = setup.data
        self.device = data.device
        self.method = setup.method(setup.blank_means()) if method is None else method
        label = f"steps of {setup.dataset} {setup.resolved.name}"
        # The folder is for checkpoints, which only `Loop.run` writes.
        self.loop = ShortLoop(self.method, data, training, runtime, setup.seed, Path(".checkpoints"), "", label)
        self.cycle = self.method.cycle()
        first = list(islice(self.loop.batches(0), BATCHES)) if batches is None else batches
        # Whole ones, so that an epoch's smaller last batch is not taken for what a step costs.
        self.batches: list[Batch] = [batch for batch in first if len(batch.labels) == len(first[0].labels)]
        self._next = cycle(self.batches)
        self.method.train()
        self.method.begin_epoch(0, self.loop)
        exported = {id(parameter) for parameter in self.method.model.parameters()}
        beside = [p for p in self.method.parameters() if p.requires_grad and id(p) not in exported]
        self.model_weights = sum(p.numel() for p in self.method.model.parameters())
        self.beside_weights = sum(p.numel() for p in beside)

    def begin(self, epoch: int) -> None:
        """Begin an epoch, and take its first step."""
        self.method.begin_epoch(epoch, self.loop)
        self.run(1)

    def run(self, count: int) -> int:
        """Take `count` steps; returns the samples in their batches."""
        samples = 0
        for batch in islice(self._next, count):
            self.method.training_step(batch, self.loop)
            samples += len(batch.labels)
        return samples
