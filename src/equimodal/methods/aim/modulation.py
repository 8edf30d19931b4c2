"""Eq. 9 to 15 of AIM as functions of pooled features and prototypes, and what its parts hand each other: no networks,
no state (aim.md section 5).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.objectives import by_target

EPSILON = 1e-12

Logs = dict[str, Tensor]


def padded(features: list[Tensor]) -> Tensor:
    """Features of N blocks [n, C_i] as one tensor [N, n, C], C the largest width: zeros behind the narrower ones'
    change no distance.
    """
    width = max(each.shape[1] for each in features)
    if all(each.shape[1] == width for each in features):
        return torch.stack(features)
    return torch.stack([functional.pad(each, (0, width - each.shape[1])) for each in features])


def distances(features: Tensor, prototypes: Tensor) -> Tensor:
    """Euclidean distances delta [..., B, K] of features [..., B, C] to prototypes [..., K, C]; finite gradient where
    they meet.
    """
    if features.dtype in (torch.float16, torch.bfloat16):
        features, prototypes = features.float(), prototypes.float()
    # The direct kernel: |f|^2 + |p|^2 - 2fp loses the small gaps of shallow depths, and broadcasting stores [B, K, C].
    exact = torch.cdist(features, prototypes.to(features.dtype), compute_mode="donot_use_mm_for_euclid_dist")
    return (exact.square() + EPSILON).sqrt()


def log_probabilities(
    features: Tensor, prototypes: Tensor, tau: Tensor | float = 1.0, normalize: bool = False
) -> Tensor:
    """log softmax_k(-delta / tau) [..., B, K], the distribution of Eq. 9 and 10."""
    if normalize:
        features, prototypes = functional.normalize(features, dim=-1), functional.normalize(prototypes, dim=-1)
    return functional.log_softmax(-distances(features, prototypes) / tau, dim=-1)


@dataclass(frozen=True)
class Score:
    """How well blocks' outputs fit their classes: scalars, or [N] of N blocks.

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
    """Eq. 9 and 10 from log probabilities [..., B, K] and targets: class ids [B], or memberships [B, K] (a
    regression's; docs/regression.md).

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
    low, high = (share < 0.01).to(dtype).mean(-1), (share > 0.99).to(dtype).mean(-1)
    return Score(-true.mean(-1), probability.mean(-1), low, high)


def block_weights(s: Tensor, s_auxiliary: Tensor | None = None, apart: bool = False) -> tuple[Tensor, Tensor]:
    """Eq. 12: rho [..., M] and rho~ [..., A] of the blocks of one depth, or of each; together they sum to 1. Without
    auxiliaries rho alone does (`no PAM`). A block whose s is infinite has no weight.

    Args:
        apart: rho and rho~ sum to 1 each, so that originals weigh as much with auxiliaries as without.
    """
    s = s.detach()
    if s_auxiliary is None:
        return functional.softmax(-s, dim=-1), s[..., :0]
    weak = s_auxiliary.detach()
    if apart:
        # Depths without auxiliaries have none to share a weight among.
        return functional.softmax(-s, dim=-1), functional.softmax(-weak, dim=-1).nan_to_num(0.0)
    weights = functional.softmax(-torch.cat([s, weak], dim=-1), dim=-1)
    return weights[..., : s.shape[-1]], weights[..., s.shape[-1] :]


def imbalance(s: Tensor) -> Tensor:
    """Eq. 14: alpha_d = population std over mean of the original blocks' s [..., M]; 0 at balance, sqrt(M - 1) when
    one modality holds everything.
    """
    s = s.detach()
    return s.std(-1, unbiased=False) / s.mean(-1).clamp_min(EPSILON)


def depth_loss(losses: Tensor, auxiliary: Tensor | None, rho: Tensor, rho_auxiliary: Tensor) -> Tensor:
    """Eq. 11: L_d = sum_m rho^m L^m + rho~^m L~^m from losses [..., M] and auxiliary losses [..., A]."""
    total = (rho * losses).sum(-1)
    return total if auxiliary is None else total + (rho_auxiliary * auxiliary).sum(-1)


def off_diagonal_cosine(prototypes: Tensor) -> Tensor:
    """Mean cosine of different classes' prototypes [..., K, C] (Eq. 16, Fig. 4):
    falls with depth where depths separate classes.
    """
    cosine = cosine_matrix(prototypes)
    classes = cosine.shape[-1]
    diagonal = cosine.diagonal(dim1=-2, dim2=-1).sum(-1)
    return (cosine.sum((-2, -1)) - diagonal) / max(1, classes * (classes - 1))


def cosine_matrix(prototypes: Tensor) -> Tensor:
    """Cosines [..., K, K] between prototypes [..., K, C] (Eq. 16), detached."""
    unit = functional.normalize(prototypes.detach().float(), dim=-1)
    return unit @ unit.mT


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


def named(places: list[tuple[str, int]], what: str, values: Tensor) -> Logs:
    """Scalars of blocks (m, d), d from 0, as `depth{d + 1}/{m}/{what}` (aim.md section 7)."""
    return {f"depth{d + 1}/{m}/{what}": value for (m, d), value in zip(places, values.flatten().unbind(), strict=True)}


def score_logs(places: list[tuple[str, int]], score: Score, s: Tensor, rho: Tensor) -> Logs:
    """What is logged of N original blocks' scores; `s` of all processes' samples."""
    return {
        **named(places, "s", s),
        **named(places, "L", score.loss.detach()),
        **named(places, "rho", rho),
        **named(places, "saturated_low", score.low),
        **named(places, "saturated_high", score.high),
    }
