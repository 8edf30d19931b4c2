"""What every measure is given, and what it says of itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from equimodal.diagnosis.bootstrap import Bootstrap, bounds
from equimodal.diagnosis.changes import Change
from equimodal.diagnosis.content import Entry, Estimate
from equimodal.diagnosis.runner import Runner

Named = Literal["encoders", "layers", "decision"]


@dataclass(frozen=True)
class Setting:
    """What measures work with.

    Attributes:
        layers: modality -> submodules, shallow to deep.
        widths: modality -> width of its block of the decision layer's input, in the input's order.
        decision: name of the decision layer.
        confidence: of intervals.
        replicates: B of the bootstrap.
        seed: of every draw.
    """

    runner: Runner
    encoders: Mapping[str, str]
    layers: Mapping[str, Sequence[str]]
    decision: str | None
    widths: Mapping[str, int]
    confidence: float
    replicates: int
    seed: int

    @property
    def modalities(self) -> tuple[str, ...]:
        """In the order given."""
        return self.runner.modalities

    def means(self, rows: Sequence[Tensor]) -> Tensor:
        """Means [R, 1 + B] of per-sample numbers R x [n], over all samples and over each resample."""
        return Bootstrap(len(rows[0]), self.replicates, self.seed).means(torch.stack(list(rows)))

    def estimate(self, means: Tensor) -> Estimate:
        """The number and its interval from [1 + B]; no interval where a resample leaves it undefined (NaN)."""
        if bool(torch.isnan(means).any()):
            return Estimate(value=float(torch.nan_to_num(means[0])), low=None, high=None)
        low, high = bounds(means, (1 - self.confidence) / 2)
        return Estimate(value=float(means[0]), low=low, high=high)

    def entry(self, quantity: str, of: str, means: Tensor, at: float | None = None, layer: str | None = None) -> Entry:
        """An entry from [1 + B]."""
        return Entry(quantity=quantity, of=of, at=at, layer=layer, estimate=self.estimate(means))


@dataclass(frozen=True)
class Measure:
    """A measure: everything but its name.

    Attributes:
        numbers: what each quantity of its entries is, for readers.
        changes: the passes that it needs, from the modalities; beside the plain one.
        compute: its entries.
        refusal: why it cannot be taken, in a few words, or None.
        needs: which names of submodules it needs.
        logits: whether it looks at the logits of its passes.
        axis: what `Entry.at` counts.
    """

    title: str
    source: str
    numbers: str
    changes: Callable[[tuple[str, ...]], list[Change]]
    compute: Callable[[Setting], list[Entry]]
    refusal: Callable[[Setting], str | None] = lambda setting: None
    needs: Named | None = None
    logits: bool = False
    axis: str | None = None


def no_changes(modalities: tuple[str, ...]) -> list[Change]:
    """Of measures that the plain pass is enough for."""
    return []


def one_each(kind: Literal["zero", "mean", "permute"]) -> Callable[[tuple[str, ...]], list[Change]]:
    """Each modality changed alone."""
    return lambda modalities: [Change(kind, (name,)) for name in modalities]


def others(modalities: tuple[str, ...], kept: Sequence[str]) -> tuple[str, ...]:
    """The modalities that are not kept, in order."""
    return tuple(name for name in modalities if name not in kept)
