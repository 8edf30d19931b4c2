"""Shapley values of modalities: what each adds, on average over all orders, to those before it."""

import math
from itertools import combinations

import torch
from torch import Tensor


def subsets(count: int) -> list[tuple[int, ...]]:
    """The 2^M - 1 subsets of modalities 0..M-1 that are not empty; all of them together come last."""
    return [part for size in range(1, count + 1) for part in combinations(range(count), size)]


def shapley_weights(count: int) -> Tensor:
    """w [M, 2^M - 1], float64: phi^m = sum_S w_mS v(S), with v of no modality 0.

    From phi^m = sum_{S without m} |S|! (M - |S| - 1)! / M! (v(S and m) - v(S)).
    """
    parts = subsets(count)
    weights = torch.zeros(count, len(parts), dtype=torch.float64)
    for m in range(count):
        for place, part in enumerate(parts):
            before = len(part) - (m in part)
            share = math.factorial(before) * math.factorial(count - before - 1) / math.factorial(count)
            weights[m, place] = share if m in part else -share
    return weights
