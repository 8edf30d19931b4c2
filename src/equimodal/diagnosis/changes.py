"""What is done to a modality before a pass: nothing, zeros, its mean, other samples' values, noise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from equimodal.diagnosis.inputs import Part

Kind = Literal["none", "zero", "mean", "permute", "donor", "noise", "zero-feature"]


@dataclass(frozen=True)
class Change:
    """One way of passing the loader through the model; equal changes share a pass.

    Attributes:
        kind: `permute` gives every sample another sample's values, a permutation for each modality; `donor` gives all
            samples one sample's values; `zero-feature` zeroes what the named encoders put out, the others change
            inputs.
        modalities: that it is done to, in the diagnosis's order.
        level: of noise, in standard deviations of the input.
        donor: number of the sample that is given to all.
    """

    kind: Kind = "none"
    modalities: tuple[str, ...] = ()
    level: float = 0.0
    donor: int = 0


FULL = Change()


def is_mask(key: Any, leaf: Tensor) -> bool:
    """Whether a leaf says which steps are real: by its type, or by its key (attention_mask)."""
    return leaf.dtype == torch.bool or "mask" in str(key).lower()


def mapped(part: Part, change: Callable[[Tensor, int], Tensor], masks: bool = False) -> Part:
    """The part with `change(leaf, place)` of every tensor in it, masks left alone unless `masks`; place counts the
    tensors in order, masks included.
    """
    found: Part = {}
    place = 0
    for key, value in part.items():
        leaves, spec = pytree.tree_flatten(value)
        new: list[Any] = []
        for leaf in leaves:
            if isinstance(leaf, Tensor):
                new.append(change(leaf, place) if masks or not is_mask(key, leaf) else leaf)
                place += 1
            else:
                new.append(leaf)
        found[key] = pytree.tree_unflatten(new, spec)
    return found


def tensors(part: Part) -> list[tuple[Tensor, bool]]:
    """The tensors of a part in `mapped`'s order, each with whether it is a mask."""
    return [
        (leaf, is_mask(key, leaf))
        for key, value in part.items()
        for leaf in pytree.tree_leaves(value)
        if isinstance(leaf, Tensor)
    ]


def zeroed(part: Part) -> Part:
    """Zeros (token id 0) with the masks that were there."""
    return mapped(part, lambda leaf, _: torch.zeros_like(leaf))


def averaged(part: Part, means: list[Tensor | None]) -> Part:
    """Every sample the mean sample, with the masks that were there."""

    def mean(leaf: Tensor, place: int) -> Tensor:
        value = means[place]
        assert value is not None
        return value.to(leaf).expand_as(leaf)

    return mapped(part, mean)


def noisy(part: Part, level: float, deviations: list[float | None], generator: torch.Generator) -> Part:
    """Gaussian noise of `level` times each tensor's standard deviation on top, masks left alone."""

    def add(leaf: Tensor, place: int) -> Tensor:
        deviation = deviations[place]
        assert deviation is not None
        noise = torch.randn(leaf.shape, generator=generator, dtype=torch.float32)
        return leaf + level * deviation * noise.to(leaf)

    return mapped(part, add)
