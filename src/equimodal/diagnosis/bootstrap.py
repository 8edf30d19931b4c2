"""Intervals by resampling samples: the percentile bootstrap (Efron and Tibshirani 1993, 13.3)."""

import torch
from torch import Tensor

from equimodal.seeding import generator

AT_ONCE = 2**22  # drawn indices that are in memory at a time


class Bootstrap:
    """Resamples of n samples, the same ones for whatever is asked: differences and shares of two measures are paired.

    Args:
        samples: n.
        replicates: B.
        seed: that the draws are derived from; no global generator is touched.
    """

    def __init__(self, samples: int, replicates: int, seed: int) -> None:
        self.samples = samples
        self.replicates = replicates
        self._seed = seed

    def means(self, values: Tensor) -> Tensor:
        """Means [..., 1 + B], float64, of values [..., n]: over all samples, then over each resample."""
        flat = values.double().reshape(-1, self.samples)
        drawn = generator(self._seed, "bootstrap")
        size = max(1, AT_ONCE // self.samples)
        found = [flat.mean(1, keepdim=True)]
        for start in range(0, self.replicates, size):
            rows = min(size, self.replicates - start)
            places = torch.randint(self.samples, (rows, self.samples), generator=drawn)
            places += torch.arange(rows)[:, None] * self.samples
            counts = torch.bincount(places.view(-1), minlength=rows * self.samples).view(rows, self.samples)
            found.append(flat @ counts.double().T / self.samples)
        return torch.cat(found, 1).view(*values.shape[:-1], 1 + self.replicates)


def bounds(means: Tensor, tail: float) -> tuple[float, float]:
    """The `tail` and 1 - `tail` quantiles of the resamples in [1 + B]."""
    low, high = torch.quantile(means[1:], torch.tensor([tail, 1 - tail], dtype=means.dtype)).tolist()
    return low, high
