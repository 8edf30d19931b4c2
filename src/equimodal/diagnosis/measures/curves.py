"""How the score falls with noise in a modality, and with modalities that are missing."""

import torch
from torch import Tensor

from equimodal.diagnosis.changes import FULL, Change
from equimodal.diagnosis.content import Entry
from equimodal.diagnosis.measures.base import Setting, others
from equimodal.diagnosis.measures.shapley import MOST
from equimodal.methods.shapley import subsets

LEVELS = (0.5, 1.0, 2.0, 4.0)  # standard deviations of the input
RATES = (0.0, 0.25, 0.5, 0.75, 1.0)


def noise_changes(modalities: tuple[str, ...]) -> list[Change]:
    """Each modality at each level."""
    return [Change("noise", (name,), level=level) for name in modalities for level in LEVELS]


def noise(setting: Setting) -> list[Entry]:
    """`score` of the model with Gaussian noise on one modality, from none."""
    entries = []
    for name in setting.modalities:
        passes = [FULL, *(Change("noise", (name,), level=level) for level in LEVELS)]
        scores = setting.means([setting.runner.run(change).scores for change in passes])
        entries += [
            setting.entry("score", name, score, at=level) for score, level in zip(scores, (0.0, *LEVELS), strict=True)
        ]
    return entries


def kept_subsets(modalities: tuple[str, ...]) -> list[tuple[tuple[int, ...], Change]]:
    """Every subset that is there, with the pass in which the others are zeros."""
    parts: list[tuple[int, ...]] = [(), *subsets(len(modalities))]
    gone = [others(modalities, [modalities[m] for m in part]) for part in parts]
    return [(part, Change("zero", names) if names else FULL) for part, names in zip(parts, gone, strict=True)]


def missing_changes(modalities: tuple[str, ...]) -> list[Change]:
    """The passes beside the plain one."""
    return [change for _, change in kept_subsets(modalities)][:-1] if len(modalities) <= MOST else []


def at_rate(scores: dict[tuple[int, ...], Tensor], rate: float, count: int) -> Tensor:
    """Expected score of each sample [n] when each of `count` modalities is missing with probability `rate`,
    independently, from the scores with each subset there: sum_S rate^(M - |S|) (1 - rate)^|S| v(S).
    """
    weighted = [rate ** (count - len(part)) * (1 - rate) ** len(part) * score for part, score in scores.items()]
    return torch.stack(weighted).sum(0)


def missing(setting: Setting) -> list[Entry]:
    """`score` at each rate, exact in expectation (nothing is drawn): one modality missing (zeros), and any of them."""
    names = setting.modalities
    scores = {part: setting.runner.run(change).scores for part, change in kept_subsets(names)}
    entries = []
    everything = tuple(range(len(names)))
    curves = {
        name: {(): scores[everything[:m] + everything[m + 1 :]], (0,): scores[everything]}
        for m, name in enumerate(names)
    }
    for of, found, count in [*((name, curve, 1) for name, curve in curves.items()), ("all", scores, len(names))]:
        means = setting.means([at_rate(found, rate, count) for rate in RATES])
        entries += [setting.entry("score", of, mean, at=rate) for mean, rate in zip(means, RATES, strict=True)]
    return entries
