"""What the first pass keeps of a modality's inputs: their mean and spread, and samples to swap in for others."""

import math

import torch
from torch import Tensor

from equimodal.diagnosis.changes import mapped, tensors
from equimodal.diagnosis.inputs import Part
from equimodal.seeding import generator

KEPT = 512  # samples
KEPT_BYTES = 512 * 2**20  # of one modality; fewer samples are kept where they are larger


class Seen:
    """One modality over the first pass.

    Samples are kept by reservoir sampling, so that they are a draw from all of the loader, whatever its order (a loader
    sorted by class has batches in which a permutation changes nothing). Loaders of at most KEPT samples are kept whole,
    and what is drawn is a permutation.

    Attributes:
        samples: how many passed.
        varies: whether any value differs between two samples.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.samples = 0
        self.varies = False
        self._seed = seed
        self._keys = generator(seed, "keep")  # the same for all modalities: they keep the same samples
        self._first: list[Tensor] = []
        self._sums: list[Tensor] = []
        self._squares: list[Tensor] = []
        self._kinds: list[str] = []  # of tensors: numbers, ids or mask
        self._one_shape = True
        self._batches = 0
        self._kept_keys = torch.empty(0, dtype=torch.float64)
        self._kept_places = torch.empty(0, dtype=torch.int64)
        self._kept: list[Tensor] = []
        self._limit = KEPT

    def add(self, part: Part) -> None:
        """Count a batch."""
        leaves = [(leaf.detach().cpu(), mask) for leaf, mask in tensors(part)]
        if not self.samples:
            self._first = [leaf[0].clone() for leaf, _ in leaves]
            self._kinds = [
                "mask" if mask else "numbers" if leaf.is_floating_point() else "ids" for leaf, mask in leaves
            ]
            self._sums = [torch.zeros(leaf.shape[1:], dtype=torch.float64) for leaf, _ in leaves]
            self._squares = [torch.zeros_like(total) for total in self._sums]
            size = sum(leaf[0].numel() * leaf.element_size() for leaf, _ in leaves)
            self._limit = max(2, min(KEPT, KEPT_BYTES // max(size, 1)))
        self._one_shape &= all(leaf.shape[1:] == one.shape for (leaf, _), one in zip(leaves, self._first, strict=True))
        self.samples += len(leaves[0][0])
        self._batches += 1
        if not self._one_shape:
            self.varies = True
            self._kept, self._sums, self._squares = [], [], []
            return
        self.varies = self.varies or any(
            bool((leaf != one).any()) for (leaf, _), one in zip(leaves, self._first, strict=True)
        )
        for place, (leaf, _) in enumerate(leaves):
            if self._kinds[place] == "numbers":
                self._sums[place] += leaf.sum(0, dtype=torch.float64)
                self._squares[place] += leaf.double().square().sum(0)
        self._keep([leaf for leaf, _ in leaves])

    def _keep(self, leaves: list[Tensor]) -> None:
        size = len(leaves[0])
        joined = torch.cat([self._kept_keys, torch.rand(size, generator=self._keys, dtype=torch.float64)])
        places = torch.cat([self._kept_places, torch.arange(self.samples - size, self.samples)])
        chosen = joined.argsort()[: self._limit].sort().values
        if not self._kept:
            self._kept = [leaf[chosen].clone() for leaf in leaves]
        elif bool((chosen >= len(self._kept_keys)).any()):
            self._kept = [torch.cat([old, new])[chosen] for old, new in zip(self._kept, leaves, strict=True)]
        self._kept_keys, self._kept_places = joined[chosen], places[chosen]

    @property
    def has_mean(self) -> bool:
        """Whether there is a mean sample: of numbers, not ids, of one shape throughout."""
        return self._one_shape and "ids" not in self._kinds

    @property
    def means(self) -> list[Tensor | None]:
        """Mean sample of every tensor; None for masks."""
        return [
            total / self.samples if kind == "numbers" else None
            for total, kind in zip(self._sums, self._kinds, strict=True)
        ]

    @property
    def deviations(self) -> list[float | None]:
        """Standard deviation around the mean sample, over all entries of a tensor; None for masks."""
        return [
            None if mean is None else math.sqrt(max(float((square / self.samples - mean.square()).mean()), 0.0))
            for mean, square in zip(self.means, self._squares, strict=True)
        ]

    @property
    def has_donors(self) -> bool:
        """Whether a sample's values can be given to all: where samples have one shape."""
        return self._one_shape

    def donors(self, count: int) -> Tensor:
        """Places in the loader [count] of the samples that are donors 0, 1, ...; the same for every modality."""
        return self._kept_places[self._kept_keys.argsort()[:count]]

    def donated(self, part: Part, donor: int) -> Part:
        """The part with a donor's values for every sample, masks included."""
        place = self._kept_keys.argsort()[donor]
        return mapped(part, lambda leaf, i: self._kept[i][place].to(leaf).expand_as(leaf), masks=True)

    @property
    def has_partners(self) -> bool:
        """Whether samples can be given other samples' values: not if each is a batch of its own shape."""
        return self._one_shape or self._batches < self.samples

    def swapped(self, part: Part, start: int) -> Part:
        """The part of the samples start, start + 1, ... with other samples' values, masks included.

        Samples of several shapes cannot stand in one batch: there, they are permuted within the batch.
        """
        size = len(tensors(part)[0][0])
        if not self._one_shape:
            order = cycle(size, generator(self._seed, "swap", self.name, start))
            return mapped(part, lambda leaf, _: leaf[order.to(leaf.device)], masks=True)
        order = self._order()[start : start + size]
        return mapped(part, lambda leaf, place: self._kept[place][order].to(leaf), masks=True)

    def _order(self) -> Tensor:
        kept = len(self._kept_keys)
        drawn = generator(self._seed, "swap", self.name)
        return torch.cat([cycle(kept, drawn) for _ in range(-(-self.samples // kept))])


def cycle(count: int, drawn: torch.Generator) -> Tensor:
    """A permutation [count] that is one random cycle, so that nothing stays in its place."""
    order = torch.randperm(count, generator=drawn)
    found = torch.empty_like(order)
    found[order] = order.roll(1)
    return found
