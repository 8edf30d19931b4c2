"""Scores of modalities that several methods compare."""

import torch
from torch import Tensor


def mean_of_others(scores: Tensor) -> Tensor:
    """Mean of the other modalities' scores [M], of scores [M]. Summed without the own one, so that equal scores have
    others that are equal to the bit.
    """
    count = len(scores)
    others = scores * (1 - torch.eye(count, dtype=scores.dtype, device=scores.device))
    return others.sum(1) / (count - 1)


def of_true_class(values: Tensor, labels: Tensor) -> Tensor:
    """What modalities' values [M, B, K] give to each sample's class: [M, B], labels [B]."""
    return values.gather(2, labels.expand(len(values), -1)[..., None])[..., 0]
