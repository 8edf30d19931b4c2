"""Late fusion with tuned weights, the baseline of SimBaMM, arXiv 2512.22991 (methods.md 21.10)."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from equimodal.methods.base import Batch, Method, Step, Trainer
from equimodal.methods.late.settings import LateSettings
from equimodal.models.framework import MultimodalModel, pooled_features
from equimodal.models.fusion import WeightedSum

SWEEPS = 10  # at most, over the modalities
ROUNDING = 1e-9  # share of a loss by which another must be lower to count as lower


class Late(Method[LateSettings]):
    """L = sum_m w^m CE(u^m, y): no modality's training knows of another. Predictions are softmax(sum_m v^m u^m), v of
    every epoch's model tuned on validation.
    """

    paper = "arXiv 2512.22991"

    @property
    def head(self) -> WeightedSum:
        """What the model has in place of a fused head."""
        return cast(WeightedSum, self.model.fusion)

    @classmethod
    def adapt(cls, model: MultimodalModel, settings: LateSettings, structure: dict[str, Any]) -> MultimodalModel:
        model.fusion = WeightedSum(model.fusion.dims, model.fusion.classes)
        return model

    def forward(self, batch: Batch) -> Step:
        alone = self.head.readout(pooled_features(self.model.encode(batch.inputs)))
        losses = {name: self.task.objective.loss(logits, batch.labels) for name, logits in alone.items()}
        weights = self.settings.loss_weights or [1.0] * len(losses)
        total = torch.stack([w * loss for w, loss in zip(weights, losses.values(), strict=True)]).sum()
        with torch.no_grad():
            logits = self.head.weighted(alone)
        return Step(total, logits, {f"{name}/loss": loss.detach() for name, loss in losses.items()})

    def end_epoch(self, epoch: int, trainer: Trainer) -> dict[str, float]:
        """Tune v for the model that is about to be measured and saved."""
        if not self.settings.tuned:
            return {}
        # Several processes measure the same; what is exported, the first one's, has the first one's weights.
        found = trainer.features("val")
        each = torch.stack([found.readouts[name] for name in self.model.modalities]).cpu().double()
        labels = found.labels.cpu()
        weights = tuned_weights(each, lambda logits: self.task.objective.loss(logits, labels), self.settings.grid)
        self.head.weights.copy_(weights)
        return {f"{name}/weight": value for name, value in zip(self.model.modalities, weights.tolist(), strict=True)}


def tuned_weights(each: Tensor, loss: Callable[[Tensor], Tensor], grid: int) -> Tensor:
    """Weights v [M] >= 0 that sum to 1, of the modalities' logits [M, n, K].

    From equal ones, the weight of each modality in turn takes the value of 0, 1/grid, ..., 1 with the lowest loss of
    sum_m v^m u^m, if that is lower, while the others keep their proportions; over and over, until nothing changes.
    """
    count = len(each)
    weights = each.new_full((count,), 1 / count)
    best = loss(torch.tensordot(weights, each, 1))
    for _ in range(SWEEPS):
        before = best
        for m in range(count):
            if weights[m] == 1:
                continue  # the others have no proportions; their turns take from this one
            rest = weights.clone()
            rest[m] = 0
            rest /= rest.sum()
            others = torch.tensordot(rest, each, 1)
            shares = torch.linspace(0, 1, grid + 1, dtype=each.dtype)
            losses = torch.stack([loss(share * each[m] + (1 - share) * others) for share in shares])
            place = int(losses.argmin())
            if losses[place] < best * (1 - ROUNDING):
                best = losses[place]
                weights = (1 - shares[place]) * rest
                weights[m] = shares[place]
        if best == before:
            break
    return weights
