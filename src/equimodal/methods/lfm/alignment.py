"""How far apart modalities are: contrastive on features, Jensen-Shannon on predictions (methods.md 21.4)."""

import math
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive(features: list[Tensor], temperature: float) -> Tensor:
    """Mean over pairs of modalities of the symmetric contrastive loss []: each sample's feature of one modality is to
    be told from the batch's by its feature of the other.

    Args:
        features: [B, d] of each modality.
        temperature: divides the cosine similarities.
    """
    with torch.autocast(features[0].device.type, enabled=False):
        directions = [functional.normalize(z.float(), dim=1) for z in features]
        own = torch.arange(len(directions[0]), device=directions[0].device)
        losses = []
        for first, second in combinations(directions, 2):
            similarities = first @ second.T / temperature
            losses += [functional.cross_entropy(similarities, own), functional.cross_entropy(similarities.T, own)]
        return torch.stack(losses).mean()


def jensen_shannon(log_p: list[Tensor]) -> Tensor:
    """Mean over pairs of modalities and samples of JS(p, q) = (KL(p, r) + KL(q, r)) / 2, r = (p + q) / 2, in nats [].

    Args:
        log_p: log probabilities [B, K] of each modality.
    """
    losses = []
    for p, q in combinations([each.float() for each in log_p], 2):
        mixture = torch.logaddexp(p, q) - math.log(2)
        losses += [functional.kl_div(mixture, each, reduction="batchmean", log_target=True) for each in (p, q)]
    return torch.stack(losses).mean()
