"""Eq. 9 to 15 of AIM as functions of pooled features and prototypes, and what its parts hand each other: no networks,
no state (aim.md section 5).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.objectives import by_target

EPSILON = 1e-12

Logs = dict[str, Tensor]


def distances(features: Tensor, prototypes: Tensor) -> Tensor:
    """Euclidean distances delta [B, K] of features [B, C] to prototypes [K, C]; finite gradient where they meet."""
    if features.dtype in (torch.float16, torch.bfloat16):
        features, prototypes = features.float(), prototypes.float()
    # The direct kernel: |f|^2 + |p|^2 - 2fp loses the small gaps of shallow depths, and broadcasting stores [B, K, C].
    exact = torch.cdist(features, prototypes.to(features.dtype), compute_mode="donot_use_mm_for_euclid_dist")
    return (exact.square() + EPSILON).sqrt()


def log_probabilities(
    features: Tensor, prototypes: Tensor, tau: Tensor | float = 1.0, normalize: bool = False
) -> Tensor:
    """log softmax_k(-delta / tau) [B, K], the distribution of Eq. 9 and 10."""
    if normalize:
        features, prototypes = functional.normalize(features, dim=1), functional.normalize(prototypes, dim=1)
    return functional.log_softmax(-distances(features, prototypes) / tau, dim=1)


@dataclass(frozen=True)
class Score:
    """How well a block's outputs fit their classes.

    Attributes:
        loss: L or L~ of Eq. 10, with gradient.
        s: s or s~ of Eq. 9, detached.
        low, high: share of samples with a true-class probability under 0.01 and over 0.99, detached.
    """

    loss: Tensor
    s: Tensor
    low: Tensor
    high: Tensor


def score(log_probability: Tensor, targets: Tensor) -> Score:
    """Eq. 9 and 10 from log probabilities [B, K] and targets: class ids [B], or memberships [B, K] (a regression's;
    docs/regression.md).

    With memberships a_i the loss is the cross entropy of soft targets, and s the mean of sum_k a_ik p_ik, whose largest
    value is max_k a_ik: saturation is judged against that.
    """
    true = by_target(log_probability, targets)
    dtype = log_probability.dtype
    if targets.dim() == 1:
        probability = share = true.detach().exp()
    else:
        probability = by_target(log_probability.detach().exp(), targets)
        share = probability / targets.to(dtype).amax(1)
    return Score(-true.mean(), probability.mean(), (share < 0.01).to(dtype).mean(), (share > 0.99).to(dtype).mean())


def block_weights(s: Tensor, s_auxiliary: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Eq. 12: rho [M] and rho~ [A] of the blocks of one depth; together they sum to 1. Without auxiliaries rho alone
    does (`no PAM`).
    """
    both = s if s_auxiliary is None else torch.cat([s, s_auxiliary])
    weights = functional.softmax(-both.detach(), dim=0)
    return weights[: len(s)], weights[len(s) :]


def imbalance(s: Tensor) -> Tensor:
    """Eq. 14: alpha_d = population std over mean of the original blocks' s [M]; 0 at balance, sqrt(M - 1) when one
    modality holds everything.
    """
    s = s.detach()
    return s.std(unbiased=False) / s.mean().clamp_min(EPSILON)


def depth_loss(losses: Tensor, auxiliary: Tensor | None, rho: Tensor, rho_auxiliary: Tensor) -> Tensor:
    """Eq. 11: L_d = sum_m rho^m L^m + rho~^m L~^m from losses [M] and auxiliary losses [A]."""
    total = (rho * losses).sum()
    return total if auxiliary is None else total + (rho_auxiliary * auxiliary).sum()


def off_diagonal_cosine(prototypes: Tensor) -> Tensor:
    """Mean cosine of different classes' prototypes [K, C] (Eq. 16, Fig. 4):
    falls with depth where depths separate classes.
    """
    cosine = cosine_matrix(prototypes)
    classes = len(cosine)
    return (cosine.sum() - cosine.diagonal().sum()) / max(1, classes * (classes - 1))


def cosine_matrix(prototypes: Tensor) -> Tensor:
    """Cosines [K, K] between prototypes [K, C] (Eq. 16), detached."""
    unit = functional.normalize(prototypes.detach().float(), dim=1)
    return unit @ unit.T


def nearest_gap(prototypes: Tensor) -> Tensor:
    """Mean distance from a prototype [K, C] to the nearest other one: the scale of `tau: auto`."""
    apart = distances(prototypes.detach(), prototypes.detach()).fill_diagonal_(torch.inf)
    return apart.amin(1).mean().clamp_min(1e-6)


@dataclass(frozen=True)
class Terms:
    """What AIM adds on a batch: lambda L_mod + Eq. 5 (None when nothing has weight), the samples' logits and features,
    scalars to log.
    """

    loss: Tensor | None
    logits: Tensor
    features: dict[str, Tensor]
    logs: Logs


@dataclass(frozen=True)
class BlockPass:
    """What the PDM needs of a block's pass: I_d and targets (`score`) of the samples it is shown, and the prototypes
    there (None with labels).
    """

    inputs: Any
    prototypes: Tensor | None
    targets: Tensor


def block_logs(name: str, block: Score, s: Tensor, rho: Tensor, prototypes: Tensor | None) -> Logs:
    """Scalars of one original block, as `{name}/...` (aim.md section 7); `s` of all processes' samples."""
    logs = {
        f"{name}/s": s,
        f"{name}/L": block.loss.detach(),
        f"{name}/rho": rho,
        f"{name}/saturated_low": block.low,
        f"{name}/saturated_high": block.high,
    }
    if prototypes is not None:
        logs[f"{name}/prototype_cosine"] = off_diagonal_cosine(prototypes)
    return logs
