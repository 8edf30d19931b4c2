"""Low against high frequencies of pictures, as MWAM measures them (methods.md section 20)."""

import math

import torch
from torch import Tensor

EPSILON = 1e-6  # on every high coefficient, as released


def cosines(size: int, corner: int) -> Tensor:
    """Rows of the orthonormal DCT-II of `size` points: the `corner` lowest and the `corner` highest frequencies
    [2 corner, size], float64.
    """
    k = torch.tensor([*range(corner), *range(size - corner, size)], dtype=torch.float64)[:, None]
    n = torch.arange(size, dtype=torch.float64)
    rows = math.sqrt(2 / size) * torch.cos(math.pi * (2 * n + 1) * k / (2 * size))
    return torch.where(k == 0, rows / math.sqrt(2), rows)


def frequency_ratios(pictures: Tensor, basis: Tensor) -> Tensor:
    """FRM of each patch [..., H // P, W // P], float64: sum over the corner of |low / (high + 1e-6)|, every low
    coefficient over the high one at the point opposite. What is left over beside whole patches is not looked at.

    Args:
        pictures: [..., H, W].
        basis: of `cosines`, [2 corner, P].
    """
    size, corner = basis.shape[1], basis.shape[0] // 2
    along = pictures.double().unfold(-1, size, size) @ basis.T  # [..., H, W // P, 2 corner]
    both = along.unfold(-3, size, size) @ basis.T  # [..., H // P, W // P, 2 corner, 2 corner]
    low, high = both[..., :corner, :corner], both[..., corner:, corner:].flip(-2, -1)
    return (low / (high + EPSILON)).abs().sum((-2, -1))
