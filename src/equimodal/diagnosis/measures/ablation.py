"""One modality taken away: by zeros, by its mean, or by other samples' values (the perceptual score)."""

from collections.abc import Callable
from typing import Literal

from equimodal.diagnosis.changes import FULL, Change
from equimodal.diagnosis.content import Entry
from equimodal.diagnosis.measures.base import Setting


def ablation(kind: Literal["zero", "mean", "permute"]) -> Callable[[Setting], list[Entry]]:
    """Per modality `drop`, score of the model minus score without the modality, and `moved`, the share of samples whose
    output is another one without it.
    """

    def compute(setting: Setting) -> list[Entry]:
        full = setting.runner.run(FULL).scores
        passes = {name: setting.runner.run(Change(kind, (name,))) for name in setting.modalities}
        drops = setting.means([full - found.scores for found in passes.values()])
        moved = setting.means([found.moved.double() for found in passes.values()])
        return [
            *(setting.entry("drop", name, drop) for name, drop in zip(passes, drops, strict=True)),
            *(setting.entry("moved", name, share) for name, share in zip(passes, moved, strict=True)),
        ]

    return compute


def no_mean(setting: Setting) -> str | None:
    """Ids and sequences of several shapes have no mean sample."""
    without = [name for name, seen in setting.runner.seen.items() if not seen.has_mean]
    if without:
        return f"{', '.join(without)}: ids, or samples of several shapes, have no mean"
    return None


def no_partners(setting: Setting) -> str | None:
    """Samples of several shapes, in batches of one, cannot be swapped."""
    alone = [name for name, seen in setting.runner.seen.items() if not seen.has_partners]
    return f"{', '.join(alone)}: samples of several shapes in batches of one cannot be swapped" if alone else None
