"""Linear probe: how well a linear classifier does on one modality's frozen features,
whatever the fusion head makes of them.

For a regression it is a linear map to the value.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.progress import watched

if TYPE_CHECKING:
    import numpy as np

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
ITERATIONS = 200
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Probe:
    """Logits = standardised features @ weight.T + bias; `penalty` is the one that validation chose."""

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor
    penalty: float

    def predict(self, features: Tensor) -> Tensor:
        """Classes [n] of features [n, d]."""
        return functional.linear((features.double() - self.mean) / self.std, self.weight, self.bias).argmax(1)


@dataclass(frozen=True)
class LinearProbe:
    """Value = standardised features @ weight + bias; `penalty` is the one that validation chose."""

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: float
    penalty: float

    def predict(self, features: Tensor) -> Tensor:
        """Values [n] of features [n, d]."""
        return (features.double() - self.mean) / self.std @ self.weight + self.bias


def fit_linear_probe(
    train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], penalties: tuple[float, ...] = PENALTIES
) -> LinearProbe:
    """Ridge regression on (features [n, d], values [n]), the penalty with the lowest mean absolute error on validation
    (the larger in a tie).

    Minimises mean squared error / 2 + penalty / 2 * ||weight||^2 in float64, in closed form; the bias is free.
    """
    mean, std = _scale(train[0])
    x, y = (train[0].double() - mean) / std, train[1].double()
    bias = float(y.mean())  # x is centred
    best: tuple[float, LinearProbe] | None = None
    for penalty in sorted(penalties, reverse=True):
        gram = x.T @ x / len(x) + penalty * torch.eye(x.shape[1], dtype=torch.float64)
        probe = LinearProbe(mean, std, torch.linalg.solve(gram, x.T @ (y - bias) / len(x)), bias, penalty)
        error = float((probe.predict(validation[0]) - validation[1].double()).abs().mean())
        if best is None or error < best[0]:
            best = error, probe
    assert best is not None
    return best[1]


def _scale(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature; a dead feature says nothing: leave it at zero."""
    std = features.double().std(0, unbiased=False)
    return features.double().mean(0), torch.where(std > 1e-9, std, torch.ones_like(std))


def fit_probe(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    classes: int,
    penalties: tuple[float, ...] = PENALTIES,
    title: str | None = None,
) -> Probe:
    """Multinomial logistic regression on (features [n, d], labels [n]), the penalty with the best accuracy on
    validation (the larger in a tie).

    Minimises mean cross entropy + penalty / 2 * ||weight||^2 in float64 by L-BFGS from zero, each penalty from its
    predecessor's solution; the bias is free. The problem is convex and nothing is drawn:
    the same features give the same probe.
    """
    mean, std = _scale(train[0])
    x = (train[0].double() - mean) / std
    weight = torch.zeros(classes, x.shape[1], dtype=torch.float64)
    bias = torch.zeros(classes, dtype=torch.float64)
    best: tuple[float, Probe] | None = None
    ordered = sorted(penalties, reverse=True)
    for penalty in watched(ordered, len(ordered), title or "", "penalties", title is not None):
        weight, bias = _solve(x, train[1], weight, bias, penalty)
        probe = Probe(mean, std, weight, bias, penalty)
        accuracy = float((probe.predict(validation[0]) == validation[1]).double().mean())
        if best is None or accuracy > best[0]:
            best = accuracy, probe
    assert best is not None
    return best[1]


@torch.no_grad()
def _solve(x: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    # scipy's L-BFGS: constructing any torch.optim optimizer imports torch's compiler,
    # which takes longer than all the probes.
    from scipy.optimize import minimize

    classes, width = weight.shape
    truth = functional.one_hot(labels, classes).double()

    def objective(flat: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> tuple[float, Any]:
        w, b = torch.from_numpy(flat).split([classes * width, classes])
        w = w.view(classes, width)
        log_probability = functional.log_softmax(functional.linear(x, w, b), dim=1)
        value = -(log_probability * truth).sum() / len(x) + penalty / 2 * w.square().sum()
        error = (log_probability.exp() - truth) / len(x)
        return float(value), torch.cat([(error.T @ x + penalty * w).flatten(), error.sum(0)]).numpy()

    start = torch.cat([weight.flatten(), bias]).numpy()
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS, "gtol": TOLERANCE, "ftol": 0.0}
    )
    w, b = torch.from_numpy(found.x).split([classes * width, classes])
    return w.view(classes, width), b
