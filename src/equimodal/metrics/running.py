"""Means of scalars over the steps of an epoch, without waiting for the device before its end."""

import itertools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class RunningMeans:
    """Sums of the scalars that steps log: one vector for each set of names, which is not the same in every step."""

    def __init__(self) -> None:
        self._totals: dict[tuple[str, ...], Tensor] = {}
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Count a step's scalars, by name; detached."""
        names = tuple(scalars)
        values = torch.stack(list(scalars.values())).double()
        self._totals[names] = self._totals[names].add_(values) if names in self._totals else values
        self._counts[names] = self._counts.get(names, 0) + 1

    def means(self, total: Callable[[Tensor], Tensor] = lambda sums: sums) -> dict[str, float]:
        """Means over the steps that have a scalar, by name; the one synchronisation with the device.

        Args:
            total: of sums over processes.
        """
        groups = sorted(self._totals)
        if not groups:
            return {}
        values = torch.cat([self._totals[names] for names in groups])
        steps = torch.tensor([self._counts[names] for names in groups for _ in names]).to(values)
        sums: dict[str, list[float]] = {}
        found = total(torch.stack([values, steps])).T.tolist()
        for name, pair in zip(itertools.chain(*groups), found, strict=True):
            sums[name] = [a + b for a, b in zip(sums.get(name, (0.0, 0.0)), pair, strict=True)]
        return {name: value / count for name, (value, count) in sorted(sums.items())}
