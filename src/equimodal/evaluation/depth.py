"""Imbalance between modalities, at each depth and at the end."""

import statistics
from collections.abc import Mapping


def imbalance(s: Mapping[str, list[float]]) -> list[float] | None:
    """alpha_d of Eq. 14: population standard deviation over mean of s_d^m across modalities; None for one modality."""
    if len(s) < 2:
        return None
    return [
        statistics.pstdev(values) / max(statistics.fmean(values), 1e-12) for values in zip(*s.values(), strict=True)
    ]


def unimodal_gap(accuracies: Mapping[str, float]) -> float | None:
    """Highest minus lowest accuracy of a modality; None for one modality."""
    return max(accuracies.values()) - min(accuracies.values()) if len(accuracies) > 1 else None
