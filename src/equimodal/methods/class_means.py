"""Mean input of every class (grid value of a regression), batch by batch: Xbar of aim.md Eq. 4, where prototypes begin
and what they stay near.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from equimodal.models.padded import Input, Padded
from equimodal.objectives import Objective


class ClassMeans:
    """Means over the members of each class, for sequences position by position over those that have it.

    A sequence's mean gets the mask of the positions that at least half of its class's members have, of those that have
    any: a prototype that is as long as the longest sample would be, for most of it, the mean of very few.

    Args:
        objective: says which samples are members of which class.
        dtype: of the sums and the means; None: the inputs' own.
    """

    def __init__(self, objective: Objective, dtype: torch.dtype | None = None) -> None:
        self.objective = objective
        self.dtype = dtype
        self.counts = torch.zeros(objective.classes, dtype=dtype)
        self._sums: dict[str, Tensor] = {}
        self._has: dict[str, Tensor] = {}  # of sequences: members that have a position [K, L]
        self._some: dict[str, Tensor] = {}  # of sequences: members that have any position [K]

    def add(self, inputs: Mapping[str, Input], labels: Tensor) -> None:
        """Take in a batch: inputs {m: [B, ...]}, labels [B]."""
        self.counts = self.counts.to(labels.device)
        self.objective.add_members(
            self.counts, labels, torch.ones(len(labels), dtype=self.counts.dtype, device=labels.device)
        )
        for name, x in inputs.items():
            values = x.zeroed().values if isinstance(x, Padded) else x
            values = values.to(self.dtype or values.dtype)
            self._add(self._sums, name, labels, values)
            if isinstance(x, Padded):
                self._add(self._has, name, labels, x.mask.to(values.dtype))
                self._add(self._some, name, labels, x.mask.any(1).to(values.dtype))

    def _add(self, totals: dict[str, Tensor], name: str, labels: Tensor, values: Tensor) -> None:
        if name not in totals:
            totals[name] = values.new_zeros(self.objective.classes, *values.shape[1:])
        self.objective.add_members(totals[name], labels, values)

    def result(self) -> dict[str, Input]:
        """{m: [K, ...]}; what a class without members gets, the objective says."""
        means: dict[str, Input] = {}
        for name, total in self._sums.items():
            counts = self.counts.to(total.dtype)
            if name not in self._has:
                means[name] = self.objective.means(total, counts)
                continue
            has, some = self._has[name], self._some[name][:, None]
            mean = total / torch.where(has > 0, has, 1.0)[..., None]
            share = has / torch.where(some > 0, some, 1.0)
            # Through the objective once more, as totals: it knows what a value of the grid takes
            # that no sample reaches.
            mean, share = (
                self.objective.means(mean * counts[:, None, None], counts),
                self.objective.means(share * counts[:, None], counts),
            )
            means[name] = Padded(mean, share >= 0.5).zeroed()
        return means
