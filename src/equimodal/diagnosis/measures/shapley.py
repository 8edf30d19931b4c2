"""Shapley values of modalities and interactions of pairs, exact over all subsets."""

import math
from itertools import combinations

import torch
from torch import Tensor

from equimodal.diagnosis.changes import FULL, Change
from equimodal.diagnosis.content import Entry
from equimodal.diagnosis.measures.ablation import no_partners
from equimodal.diagnosis.measures.base import Setting, others
from equimodal.methods.shapley import shapley_weights, subsets

MOST = 5  # modalities: 2^M passes


def kept_subsets(modalities: tuple[str, ...]) -> list[Change]:
    """The passes in which the modalities of a subset are kept and each other one is permuted: of no modality, then as
    `subsets`; the last is the plain one.
    """
    kept = [(), *subsets(len(modalities))]
    gone = [others(modalities, [modalities[m] for m in part]) for part in kept]
    return [Change("permute", names) if names else FULL for names in gone]


def subset_changes(modalities: tuple[str, ...]) -> list[Change]:
    """The passes beside the plain one; none for more modalities than MOST, for which there is a refusal."""
    return kept_subsets(modalities)[:-1] if len(modalities) <= MOST else []


def interaction_weights(count: int) -> Tensor:
    """w [pairs, 2^M], float64, subsets as `kept_subsets`: the Shapley interaction index I_ij = sum_S w_S v(S)
    = sum_{S without i, j} |S|! (M - |S| - 2)! / (M - 1)! (v(S, i, j) - v(S, i) - v(S, j) + v(S))
    (Grabisch and Roubens 1999, Eq. 8).
    """
    parts: list[tuple[int, ...]] = [(), *subsets(count)]
    pairs = list(combinations(range(count), 2))
    weights = torch.zeros(len(pairs), len(parts), dtype=torch.float64)
    for row, pair in enumerate(pairs):
        for place, part in enumerate(parts):
            inside = len(set(pair) & set(part))
            before = len(part) - inside
            share = math.factorial(before) * math.factorial(count - before - 2) / math.factorial(count - 1)
            weights[row, place] = -share if inside == 1 else share
    return weights


def values(setting: Setting) -> tuple[Tensor, Tensor]:
    """Shapley values phi [M, 1 + B] and subsets' scores v [2^M, 1 + B]."""
    v = setting.means([setting.runner.run(change).scores for change in kept_subsets(setting.modalities)])
    return shapley_weights(len(setting.modalities)) @ (v[1:] - v[0]), v


def shares(parts: Tensor) -> Tensor:
    """Parts [M, 1 + B] of their sum; NaN where there is no gain to share."""
    total = parts.sum(0)
    return torch.where(total > 0, parts / total, torch.full_like(parts, torch.nan))


def compute(setting: Setting) -> list[Entry]:
    """`value` phi^m and `share` of each modality, `interaction` of each pair, `gain` v(all) - v(none)."""
    phi, v = values(setting)
    names = setting.modalities
    pairs = interaction_weights(len(names)) @ v
    return [
        *(setting.entry("value", name, each) for name, each in zip(names, phi, strict=True)),
        *(setting.entry("share", name, each) for name, each in zip(names, shares(phi), strict=True)),
        *(
            setting.entry("interaction", f"{a} x {b}", each)
            for (a, b), each in zip(combinations(names, 2), pairs, strict=True)
        ),
        setting.entry("gain", "all", phi.sum(0)),
    ]


def refusal(setting: Setting) -> str | None:
    """As `no_partners`, and 2^M passes are too many for many modalities."""
    return too_many(setting) or no_partners(setting)


def too_many(setting: Setting) -> str | None:
    """2^M passes are too many for many modalities."""
    count = len(setting.modalities)
    return f"{count} modalities have 2^{count} subsets; exact up to {MOST}" if count > MOST else None
