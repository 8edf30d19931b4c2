"""Fusion heads: features of the modalities -> class logits,
and the logits that each modality gives alone (methods.md 1.3, 4.2).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from equimodal.errors import UserError
from equimodal.models.initialisation import initialise


class Fusion(nn.Module):
    """Base of the fusion heads.

    Args:
        dims: modality -> feature width d_m, in the model's order.
        classes: width of the output: K, or 1 for a regression.

    Attributes:
        averaged: for the heads that add up the modalities' parts (concat, sum): a readout is M times the modality's
            part, so that the mean of the readouts is the fused output. A regression needs that: its parts are shares of
            a number, and each modality's readout is to be that number itself.
    """

    readout_name = "zero-feature"
    averaged = False

    def __init__(self, dims: dict[str, int], classes: int) -> None:
        super().__init__()
        self.dims = dict(dims)
        self.classes = classes

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Fused logits [B, K] of features {m: [B, d_m]}."""
        raise TypeError(f"{type(self).__name__} must define forward")

    def predict(self, features: dict[str, Tensor]) -> Tensor:
        """Logits [B, K] that predictions are made of; another rule than the training's `forward` where a method has
        one (weights by entropy, a mean of branches).
        """
        logits: Tensor = self(features)
        return logits

    def readout(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits [B, K] of each modality alone, by the estimator `readout_name`:
        split weights, or the others' features zeroed.
        """
        return self.zero_feature(features)

    def _alone(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """Readouts from the parts that the fused output is the sum of."""
        return {name: len(parts) * part for name, part in parts.items()} if self.averaged else parts

    def zero_feature(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Fused logits when all features but one are zero."""
        return {
            name: self.predict(
                {other: value if other == name else torch.zeros_like(value) for other, value in features.items()}
            )
            for name in features
        }


class Concat(Fusion):
    """Linear([z^1; ...; z^M]); the readout of m is its weight block and b/M."""

    readout_name = "split"

    def __init__(self, dims: dict[str, int], classes: int) -> None:
        super().__init__(dims, classes)
        self.linear = nn.Linear(sum(dims.values()), classes)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return self.linear(torch.cat([features[name] for name in self.dims], dim=1))

    def readout(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        weights = dict(zip(self.dims, self.linear.weight.split(list(self.dims.values()), dim=1), strict=True))
        bias = self.linear.bias / len(self.dims)
        return self._alone({name: nn.functional.linear(features[name], weights[name], bias) for name in self.dims})


class Sum(Fusion):
    """Sum of one Linear per modality, which is also its readout."""

    readout_name = "split"

    def __init__(self, dims: dict[str, int], classes: int) -> None:
        super().__init__(dims, classes)
        self.linears = nn.ModuleDict({name: nn.Linear(width, classes) for name, width in dims.items()})

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return torch.stack(list(self._parts(features).values())).sum(0)

    def readout(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return self._alone(self._parts(features))

    def _parts(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.linears[name](features[name]) for name in self.dims}


class WeightedReadouts(Fusion):
    """Base of heads without a fused one: every modality has a readout of its own, and the logits are their sum with
    fixed weights.

    Args:
        merge: the weights, in the order of `dims`; None for equal ones.
    """

    readout_name = "split"

    def __init__(self, dims: dict[str, int], classes: int, merge: Sequence[float] | None) -> None:
        super().__init__(dims, classes)
        self.merge = dict(zip(dims, merge or [1 / len(dims)] * len(dims), strict=True))

    def weighted(self, logits: dict[str, Tensor]) -> Tensor:
        """sum_m merge^m u^m [B, K] of the modalities' logits {m: [B, K]}. Where some are missing, the weights of the
        others grow to the same sum.
        """
        there = [name for name in self.dims if name in logits]
        share = 1.0 if len(there) == len(self.dims) else sum(self.merge[m] for m in there) / sum(self.merge.values())
        return torch.stack([self.merge[name] / share * logits[name] for name in there]).sum(0)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return self.weighted(self.readout(features))


class WeightedSum(Sum):
    """One Linear per modality, whose output u^m is its readout; the fused logits are sum_m v^m u^m.

    Attributes:
        weights: v [M], in the order of `dims`; a buffer, so that the exported model has them.
    """

    weights: Tensor

    def __init__(self, dims: dict[str, int], classes: int) -> None:
        super().__init__(dims, classes)
        initialise(self)
        self.register_buffer("weights", torch.full((len(dims),), 1 / len(dims)))

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return self.weighted(self.readout(features))

    def weighted(self, logits: dict[str, Tensor]) -> Tensor:
        """sum_m v^m u^m [B, K] of the modalities' logits {m: [B, K]}."""
        each = torch.stack([logits[name] for name in self.dims])
        return (self.weights.to(each.dtype)[:, None, None] * each).sum(0)


class OneWidth(nn.ModuleDict):
    """Brings features [B, d_m] to one width: a linear layer of its own for each modality of another width; the others'
    pass as they are.
    """

    def __init__(self, dims: dict[str, int], width: int) -> None:
        super().__init__({name: nn.Linear(own, width) for name, own in dims.items() if own != width})

    def forward(self, name: str, feature: Tensor) -> Tensor:
        mapped: Tensor = self[name](feature) if name in self else feature
        return mapped


class FiLM(Fusion):
    """The first modality scales and shifts the second: Linear(gamma * y + beta)."""

    def __init__(self, dims: dict[str, int], classes: int) -> None:
        super().__init__(dims, classes)
        first, second = _two(dims, "film")
        self.condition = nn.Linear(dims[first], 2 * dims[second])
        self.linear = nn.Linear(dims[second], classes)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        first, second = self.dims
        gamma, beta = self.condition(features[first]).chunk(2, dim=1)
        return self.linear(gamma * features[second] + beta)


class Gated(Fusion):
    """The first modality gates the second: Linear(sigmoid(L x) * L y)."""

    def __init__(self, dims: dict[str, int], classes: int) -> None:
        super().__init__(dims, classes)
        first, second = _two(dims, "gated")
        width = dims[second]
        self.gate = nn.Linear(dims[first], width)
        self.value = nn.Linear(dims[second], width)
        self.linear = nn.Linear(width, classes)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        first, second = self.dims
        return self.linear(torch.sigmoid(self.gate(features[first])) * self.value(features[second]))


def _two(dims: dict[str, int], name: str) -> tuple[str, str]:
    if len(dims) != 2:
        raise UserError(
            f"model.fusion = {name} is defined for two modalities, not {len(dims)} ({', '.join(dims)}): use"
            " concat or sum"
        )
    first, second = dims
    return first, second


FUSIONS: dict[str, type[Fusion]] = {"concat": Concat, "sum": Sum, "film": FiLM, "gated": Gated}


def mean_prediction(each: Tensor, averaged: bool) -> Tensor:
    """Logits [B, K] whose softmax is the mean of each softmax [M, B, K]; of numbers (`averaged`) their mean."""
    return each.mean(0) if averaged else each.float().log_softmax(2).logsumexp(0) - math.log(len(each))
