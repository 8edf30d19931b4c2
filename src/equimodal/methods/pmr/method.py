"""Prototypical modal rebalance, PMR: Fan, Xu, Wang, Wang, Guo, CVPR 2023 (methods.md section 9)."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.methods.aim.modulation import distances
from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.methods.distributed import average
from equimodal.methods.pmr.settings import PMRSettings
from equimodal.methods.scores import mean_of_others, of_true_class
from equimodal.models.framework import MultimodalModel


class PMR(Method[PMRSettings]):
    """L = CE(f, y) + alpha sum_m beta^m PCE^m - mu sum_{m leads} H^m, with PCE^m the cross entropy and H^m the entropy
    of softmax_k(-||z^m - c_k^m||), c_k^m the mean feature of class k.

    Attributes:
        prototypes: c [K, sum of d_m] of all modalities side by side; constants. A buffer.
        seen: classes with training samples [K]; the others take no part. A buffer.
    """

    paper = "CVPR 2023"
    prototypes: Tensor
    seen: Tensor

    def __init__(self, model: MultimodalModel, settings: PMRSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        # The released code compares with both ends: 0 to 70 are 71 epochs.
        self._window = settings.window_epochs(task.epochs, both_ends=settings.variant == "released")
        self._entropy_epochs = math.ceil(round(settings.entropy_share * task.epochs, 6))
        self._alpha = self._mu = 0.0  # this epoch's
        self._stale = False
        self.register_buffer("prototypes", torch.zeros(task.classes, sum(model.fusion.dims.values())))
        self.register_buffer("seen", torch.zeros(task.classes, dtype=torch.bool))

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        active = epoch in self._window
        self._alpha = self.settings.alpha if active else 0.0
        self._mu = self.settings.mu if active and epoch < self._entropy_epochs else 0.0
        self._stale = self._alpha > 0 or self._mu > 0

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        if self._stale:  # before the epoch's first step, as a part of its work
            self._update(trainer)
            self._stale = False
        return super().training_step(batch, trainer)

    def forward(self, batch: Batch) -> Step:
        outputs = self.model(batch.inputs)
        loss = self.loss(batch, outputs)
        if self._alpha == 0 and self._mu == 0:
            return Step(loss, outputs.logits, {})  # bit for bit joint training
        log_p = prototypical(
            outputs.features, self.prototypes.split(list(self.model.fusion.dims.values()), 1), self.seen
        )
        true = of_true_class(log_p, batch.labels)
        with torch.no_grad():
            # The gradients are those of all processes: so must the coefficients be.
            (scores,) = average(true.exp().mean(1))
            released = self.settings.variant == "released"
            beta = coefficients(scores, self.settings.binary, released).to(true.dtype)
        if self._alpha > 0:
            loss = loss - self._alpha * (beta * true.mean(1)).sum()
        if self._mu > 0:
            entropy = -(log_p.exp() * log_p).sum(2).mean(1)
            loss = loss - self._mu * (leading(scores) * entropy).sum()
        logs: dict[str, Tensor] = {}
        for name, score, coefficient in zip(self.model.modalities, scores, beta, strict=True):
            logs |= {f"{name}/score": score, f"{name}/coefficient": coefficient}
        return Step(loss, outputs.logits, logs)

    @torch.no_grad()
    def _update(self, trainer: Trainer) -> None:
        """c <- (1 - momentum) c' + momentum c, c' the class means of the training split's features, evaluation inputs
        and mode; the first time c <- c'.
        """
        found = trainer.features("train")
        joined = torch.cat([found.features[name] for name in self.model.modalities], 1).double()
        totals = joined.new_zeros(self.prototypes.shape)
        self.task.objective.add_members(totals, found.labels, joined)
        counts = self.task.objective.counts(found.labels)
        current = self.task.objective.means(totals, counts).to(self.prototypes)
        kept = torch.where(self.seen.any(), self.settings.prototype_momentum, 0.0)
        self.prototypes.copy_((1 - kept) * current + kept * self.prototypes)
        self.seen.copy_(counts > 0)


def prototypical(features: dict[str, Tensor], prototypes: tuple[Tensor, ...], seen: Tensor) -> Tensor:
    """log p~ [M, B, K] = log softmax_k(-||z_i^m - c_k^m||_2) of features {m: [B, d_m]} and prototypes M x [K, d_m],
    over the classes that are `seen` [K].
    """
    far = torch.finfo(torch.float32).min / 2  # finite: 0 log 0 is 0 in the entropy and its gradient
    apart = torch.stack([-distances(z, c) for z, c in zip(features.values(), prototypes, strict=True)])
    return functional.log_softmax(apart.masked_fill(~seen, far), 2)


def coefficients(scores: Tensor, binary: bool = False, released: bool = False) -> Tensor:
    """beta^m [M] of scores s^m [M]: clip(1 / rho^m - 1, 0, 1), rho^m = s^m / mean of the other scores, for two
    modalities the paper's beta and gamma. Binary: 1 for the weakest (the first of equals), else 0.

    When nobody lags, the released code's else-branch stimulates the first modality all the same.
    """
    scores = scores.double()
    others = mean_of_others(scores)
    if not binary:
        return (others / scores.clamp_min(torch.finfo(torch.float32).tiny) - 1).clamp(0, 1)
    weakest = scores == scores.min()
    weakest = weakest & (weakest.cumsum(0) == 1)
    return (weakest if released else weakest & (scores < others)).double()


def leading(scores: Tensor) -> Tensor:
    """1 for a modality whose score is above the mean of the others', else 0, of scores [M]."""
    return (scores > mean_of_others(scores)).to(scores.dtype)
