"""One pass over a split in evaluation mode, watched by whatever measures something on it."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from equimodal.methods.base import Split
from equimodal.models.framework import MultimodalModel, Outputs
from equimodal.objectives import Objective, by_target
from equimodal.progress import watched
from equimodal.training.data import DataModule


class Observer(Protocol):
    """Sees every batch of a pass."""

    def __call__(self, outputs: Outputs, labels: Tensor) -> None:
        """Take in one batch: its outputs and labels [B]."""


@torch.no_grad()
def observe(
    model: MultimodalModel,
    data: DataModule,
    split: Split,
    batch_size: int,
    observers: Sequence[Observer],
    progress: bool = False,
) -> None:
    """Pass a split, evaluation transforms and mode, through the model; block outputs live for one batch only.

    `progress` shows on stderr how far it is.
    """
    model.eval()
    batches = data.evaluation_batches(split, batch_size)
    if progress:
        batches = watched(batches, math.ceil(data.count(split) / batch_size), f"pass over {split}", "batches")
    for inputs, labels in batches:
        outputs = model.predict(inputs)
        for observer in observers:
            observer(outputs, labels)


class Decisions:
    """Predicted classes, or a regression's values: fused, and by each readout and modality.

    Readouts: the fusion head's own (`split` weights for concat and sum) and `zero-feature`, the fused logits with every
    other modality's feature zeroed, which every head has.
    """

    def __init__(self, model: MultimodalModel, objective: Objective) -> None:
        self._model = model
        self._objective = objective
        self._fused: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._readouts: dict[str, dict[str, list[Tensor]]] = {}

    def __call__(self, outputs: Outputs, labels: Tensor) -> None:
        self._fused.append(self._objective.decide(outputs.logits).cpu())
        self._labels.append(labels.cpu())
        fusion = self._model.fusion
        estimates = {"zero-feature": fusion.zero_feature(outputs.features)}
        estimates[fusion.readout_name] = self._model.readout(outputs.features)
        for readout, by_modality in estimates.items():
            for modality, logits in by_modality.items():
                self._readouts.setdefault(readout, {}).setdefault(modality, []).append(
                    self._objective.decide(logits).cpu()
                )

    @property
    def fused(self) -> Tensor:
        """Predictions [n]."""
        return torch.cat(self._fused)

    @property
    def labels(self) -> Tensor:
        """Labels [n]."""
        return torch.cat(self._labels)

    @property
    def readouts(self) -> dict[str, dict[str, Tensor]]:
        """Readout -> modality -> predictions [n]."""
        return {
            readout: {name: torch.cat(parts) for name, parts in found.items()}
            for readout, found in self._readouts.items()
        }


class Scores:
    """Probabilities, or a regression's values: fused, and of each modality alone by the fusion head's readout.

    Attributes:
        fused: [n, K] or [n], float64, as numpy.
        alone: the same {m: ...}.
    """

    def __init__(self, model: MultimodalModel, objective: Objective) -> None:
        self._model = model
        self._objective = objective
        self._fused: list[Tensor] = []
        self._alone: dict[str, list[Tensor]] = {}

    def __call__(self, outputs: Outputs, labels: Tensor) -> None:
        self._fused.append(self._objective.scores(outputs.logits))
        for name, logits in self._model.readout(outputs.features).items():
            self._alone.setdefault(name, []).append(self._objective.scores(logits))

    @property
    def fused(self) -> "np.ndarray[Any, Any]":
        return np.asarray(torch.cat(self._fused).numpy())

    @property
    def alone(self) -> dict[str, "np.ndarray[Any, Any]"]:
        return {name: np.asarray(torch.cat(parts).numpy()) for name, parts in self._alone.items()}


class Features:
    """Features z^m of the last block."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Tensor]] = {}

    def __call__(self, outputs: Outputs, labels: Tensor) -> None:
        for name, feature in outputs.features.items():
            self._parts.setdefault(name, []).append(feature.float().cpu())

    @property
    def features(self) -> dict[str, Tensor]:
        """Modality -> [n, d_m]."""
        return {name: torch.cat(parts) for name, parts in self._parts.items()}


class ClassStatistics:
    """Mean pooled output of every class (grid value of a regression) at every depth, and how far samples lie around it.

    They are prototypes for any model, trained with them or not.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._sums: dict[str, list[Tensor]] = {}
        self._squares: dict[str, list[Tensor]] = {}
        self._counts = torch.zeros(objective.classes, dtype=torch.float64)

    def __call__(self, outputs: Outputs, labels: Tensor) -> None:
        labels = labels.cpu()
        self._counts += self._objective.counts(labels)
        for name, stages in outputs.depths().items():
            line = [stage.pooled.double().cpu() for stage in stages]
            sums = self._sums.setdefault(name, [x.new_zeros(self._objective.classes, x.shape[1]) for x in line])
            squares = self._squares.setdefault(name, [x.new_zeros(x.shape[1]) for x in line])
            for x, total, square in zip(line, sums, squares, strict=True):
                self._objective.add_members(total, labels, x)
                square += x.square().sum(0)

    @property
    def prototypes(self) -> dict[str, list[Tensor]]:
        """Modality -> depth -> [K, C_d], float64."""
        return {
            name: [self._objective.means(total, self._counts) for total in sums] for name, sums in self._sums.items()
        }

    @property
    def spreads(self) -> dict[str, list[Tensor]]:
        """Modality -> depth -> [C_d]: standard deviation of each channel around the class means;
        1 for a channel that never changes.
        """
        found: dict[str, list[Tensor]] = {}
        for name, line in self.prototypes.items():
            pairs = zip(line, self._squares[name], strict=True)
            variances = [
                (square - (self._counts[:, None] * means.square()).sum(0)) / self._counts.sum()
                for means, square in pairs
            ]
            found[name] = [torch.where(v > 1e-12, v.clamp_min(1e-12).sqrt(), torch.ones_like(v)) for v in variances]
        return found


class TrueClassProbability:
    """s_d^m of Eq. 9 over a whole split, with distances in units of the within-class spread.

    Args:
        prototypes: modality -> depth -> [K, C_d].
        spreads: modality -> depth -> [C_d], what each channel is divided by.
        objective: says which prototypes a sample belongs to.
    """

    def __init__(
        self, prototypes: dict[str, list[Tensor]], spreads: dict[str, list[Tensor]], objective: Objective
    ) -> None:
        self._objective = objective
        self._prototypes = prototypes
        self._spreads = spreads
        self._sums = {name: [0.0] * len(line) for name, line in prototypes.items()}
        self._seen = 0

    def __call__(self, outputs: Outputs, labels: Tensor) -> None:
        self._seen += len(labels)
        targets = self._objective.memberships(labels.cpu())
        for name, stages in outputs.depths().items():
            for depth, stage in enumerate(stages):
                spread = self._spreads[name][depth]
                pooled = stage.pooled.double().cpu() / spread
                distances = torch.cdist(
                    pooled, self._prototypes[name][depth] / spread, compute_mode="donot_use_mm_for_euclid_dist"
                )
                self._sums[name][depth] += float(by_target(torch.softmax(-distances, dim=1), targets).sum())

    @property
    def s(self) -> dict[str, list[float]]:
        """Modality -> depth -> mean probability of the true class (grid values around the label, by membership)."""
        return {name: [total / self._seen for total in sums] for name, sums in self._sums.items()}
