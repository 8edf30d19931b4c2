"""What depends on the task: outputs and loss, what a prototype stands for, what is measured,
and which of two epochs is better.

Everything else (loop, methods, stages) asks an objective, so that classes and numbers are trained by the same code.
Derivation of the regression side: docs/regression.md.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.metrics.classification import accuracy, confusion, macro_f1
from equimodal.settings.regression import RegressionSettings

ROUNDING = 1e-6  # float32 labels lie beside grid values by as much of a step; a membership that small is none


class Objective(ABC):
    """A task with K prototypes: its classes, or the values of a grid.

    Attributes:
        classes: K.
        outputs: width of the model's output ("logits").
        measure: name of what training logs of its batches, as `train/{measure}`.
    """

    task: ClassVar[Literal["classification", "regression"]]
    label_type: ClassVar[torch.dtype]
    measure: ClassVar[str]
    classes: int
    outputs: int

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of logits [B, outputs] against labels [B]."""

    @abstractmethod
    def decide(self, logits: Tensor) -> Tensor:
        """Predictions [B] in the labels' terms: class ids, or values."""

    @abstractmethod
    def scores(self, logits: Tensor) -> Tensor:
        """What is said of samples, of their logits [B, outputs]: probabilities [B, K], or values [B]; float64, on the
        CPU.
        """

    @abstractmethod
    def class_ids(self, values: Tensor) -> Tensor:
        """Class ids [B] (int64) of labels or predictions [B]."""

    @abstractmethod
    def tally(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Sum over the batch of what `measure` is the mean of."""

    @abstractmethod
    def prototype_labels(self, device: torch.device) -> Tensor:
        """The label [K] that each prototype stands for."""

    @abstractmethod
    def memberships(self, labels: Tensor) -> Tensor:
        """Which prototypes the samples belong to: ids [B], or weights [B, K] that sum to 1 (`by_target` and cross
        entropy take either).
        """

    @abstractmethod
    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Log probabilities [B, K] that logits [B, outputs] give the prototypes: log softmax of the classes' logits, or
        of minus a number's distances to the grid values in steps of the grid.
        """

    @abstractmethod
    def add_members(self, totals: Tensor, labels: Tensor, x: Tensor) -> None:
        """Add samples x [B, ...] to the totals [K, ...] of the prototypes they belong to, in place."""

    @abstractmethod
    def told_apart(self, logits: Tensor, some: Tensor | None = None) -> dict[str, Tensor]:
        """How well the logits [K, outputs] of the K prototypes (or of some of them, by number and in order) tell them
        apart: name -> share, detached; the last one is what a fit has to reach.
        """

    @abstractmethod
    def measures(self, fused: Tensor, unimodal: dict[str, Tensor], labels: Tensor, prefix: str) -> dict[str, float]:
        """Measures of a split from its logits [n, outputs], fused and by modality, for the curves;
        names begin with `{prefix}/`.
        """

    @abstractmethod
    def rank(self, metrics: dict[str, float], split: str) -> list[float]:
        """What selection compares between epochs; the larger list is better."""

    def means(self, totals: Tensor, counts: Tensor) -> Tensor:
        """Means [K, ...] of the prototypes' members from their totals [K, ...] and counts [K]."""
        return totals / counts.clamp_min(1).view(-1, *[1] * (totals.dim() - 1))

    def counts(self, labels: Tensor) -> Tensor:
        """Members of each prototype [K], float64."""
        totals = torch.zeros(self.classes, dtype=torch.float64, device=labels.device)
        self.add_members(totals, labels, torch.ones(len(labels), dtype=torch.float64, device=labels.device))
        return totals


class Classification(Objective):
    """K classes: cross entropy, the highest accuracy, then the lowest loss."""

    task = "classification"
    label_type = torch.int64
    measure = "accuracy"

    def __init__(self, classes: int) -> None:
        self.classes = self.outputs = classes

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels)

    def decide(self, logits: Tensor) -> Tensor:
        return logits.argmax(1)

    def scores(self, logits: Tensor) -> Tensor:
        return logits.detach().double().cpu().softmax(1)

    def class_ids(self, values: Tensor) -> Tensor:
        return values

    def tally(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.argmax(1) == labels).sum()

    def prototype_labels(self, device: torch.device) -> Tensor:
        return torch.arange(self.classes, device=device)

    def memberships(self, labels: Tensor) -> Tensor:
        return labels

    def log_probabilities(self, logits: Tensor) -> Tensor:
        return functional.log_softmax(logits, 1)

    def add_members(self, totals: Tensor, labels: Tensor, x: Tensor) -> None:
        totals.index_add_(0, labels, x)

    def told_apart(self, logits: Tensor, some: Tensor | None = None) -> dict[str, Tensor]:
        own = self.prototype_labels(logits.device) if some is None else some
        return {"accuracy": (logits.detach().argmax(1) == own).float().mean()}

    def measures(self, fused: Tensor, unimodal: dict[str, Tensor], labels: Tensor, prefix: str) -> dict[str, float]:
        matrix = confusion(fused.argmax(1), labels, self.classes)
        values = {
            f"{prefix}/loss": float(functional.cross_entropy(fused, labels)),
            f"{prefix}/accuracy": accuracy(matrix),
            f"{prefix}/macro_f1": macro_f1(matrix),
        }
        for name, logits in unimodal.items():
            values[f"{prefix}/{name}/accuracy"] = accuracy(confusion(logits.argmax(1), labels, self.classes))
        return values

    def rank(self, metrics: dict[str, float], split: str) -> list[float]:
        return [metrics[f"{split}/accuracy"], -metrics[f"{split}/loss"]]


class Regression(Objective):
    """One number: absolute or squared error, the lowest mean absolute error (MAE), then the lowest loss. Prototypes
    stand on a grid of values.
    """

    task = "regression"
    label_type = torch.float32
    measure = "mae"

    def __init__(self, settings: RegressionSettings) -> None:
        self.settings = settings
        self.classes = settings.points
        self.outputs = 1
        self._grid = torch.tensor(settings.grid, dtype=torch.float64)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        kind = functional.l1_loss if self.settings.loss == "l1" else functional.mse_loss
        return kind(logits[:, 0].to(labels.dtype), labels)

    def decide(self, logits: Tensor) -> Tensor:
        return logits[:, 0]

    def scores(self, logits: Tensor) -> Tensor:
        return self.decide(logits).detach().double().cpu()

    def class_ids(self, values: Tensor) -> Tensor:
        settings = self.settings  # as RegressionSettings.nearest
        place = (
            torch.round(values.double() / settings.step - (settings.low / settings.step + settings.origin))
            + settings.origin
        )
        return place.clamp(0, self.classes - 1).long()

    def tally(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits[:, 0] - labels).abs().sum()

    def prototype_labels(self, device: torch.device) -> Tensor:
        return self._grid.to(device, self.label_type)

    def memberships(self, labels: Tensor) -> Tensor:
        """a_ip: the hat kernel max(0, 1 - |y_i - t_p| / h), h = bandwidth x step, divided by its sum over p.

        With h = one step it is linear interpolation:
        sum_p a_ip t_p = y_i, and a label on the grid belongs to its own value alone.
        """
        apart = (labels.double()[:, None] - self._grid.to(labels.device)).abs() / (
            self.settings.bandwidth * self.settings.step
        )
        weights = torch.where(apart < 1 - ROUNDING, 1 - apart, 0.0)
        return (weights / weights.sum(1, keepdim=True)).to(labels.dtype)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        return functional.log_softmax(-(logits - self.prototype_labels(logits.device)).abs() / self.settings.step, 1)

    def add_members(self, totals: Tensor, labels: Tensor, x: Tensor) -> None:
        totals += torch.tensordot(self.memberships(labels).to(x.dtype), x, dims=([0], [0]))

    def means(self, totals: Tensor, counts: Tensor) -> Tensor:
        """A grid value that no sample reaches takes the mean between its nearest reached neighbours, by distance;
        beyond the last one, that one's.
        """
        reached = (counts > 0).nonzero().flatten().tolist()
        means = totals / torch.where(counts > 0, counts, 1.0).view(-1, *[1] * (totals.dim() - 1))
        for place in set(range(self.classes)) - set(reached):
            below = max((p for p in reached if p < place), default=min(reached))
            above = min((p for p in reached if p > place), default=max(reached))
            share = (place - below) / (above - below) if below < place < above else 0.0
            means[place] = (1 - share) * means[below if below < place else above] + share * means[above]
        return means

    def told_apart(self, logits: Tensor, some: Tensor | None = None) -> dict[str, Tensor]:
        """`accuracy`: predictions nearest to their own grid value.

        `order`: neighbours on the grid whose predictions rise with it.

        A fit has to reach the order. Its own value may be out of a prototype's reach: a regression shrinks towards the
        mean, and a head on normalised features is bounded, so that the ends of the range may lie beyond anything it can
        say; the order it can always give.
        """
        values = logits.detach()[:, 0]
        own = torch.arange(self.classes, device=values.device) if some is None else some
        near = (self.class_ids(values) == own).float().mean()
        return {"accuracy": near, "order": (values.diff() > 0).float().mean()}

    def measures(self, fused: Tensor, unimodal: dict[str, Tensor], labels: Tensor, prefix: str) -> dict[str, float]:
        truth = self.class_ids(labels)
        values = {f"{prefix}/loss": float(self.loss(fused, labels))}
        for place, logits in {
            prefix: fused,
            **{f"{prefix}/{name}": logits for name, logits in unimodal.items()},
        }.items():
            matrix = confusion(self.class_ids(self.decide(logits)), truth, self.classes)
            values[f"{place}/mae"] = float((self.decide(logits).double() - labels.double()).abs().mean())
            values[f"{place}/accuracy"] = accuracy(matrix)
            if place == prefix:
                values[f"{place}/macro_f1"] = macro_f1(matrix)
        return values

    def rank(self, metrics: dict[str, float], split: str) -> list[float]:
        return [-metrics[f"{split}/mae"], -metrics[f"{split}/loss"]]


def objective_of(manifest: dict[str, Any]) -> Objective:
    """The objective of data/D/manifest.json."""
    if manifest["task"] == "regression":
        return Regression(RegressionSettings.read(manifest["regression"], "regression"))
    return Classification(len(manifest["classes"]))


def by_target(values: Tensor, targets: Tensor) -> Tensor:
    """Each sample's value [..., B] of values [..., B, K]: at its class id [B], or the mean over prototypes weighted by
    its memberships [B, K].
    """
    if targets.dim() == 1:
        return values.gather(-1, targets.expand(values.shape[:-1]).unsqueeze(-1)).squeeze(-1)
    return (targets.to(values.dtype) * values).sum(-1)
