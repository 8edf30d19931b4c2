"""How much of the predictions a sum of functions of one modality each explains (EMAP)."""

import torch
from torch import Tensor

from equimodal.diagnosis.changes import FULL, Change
from equimodal.diagnosis.content import Entry
from equimodal.diagnosis.measures.base import Setting, others

DONORS = 8


def changes(modalities: tuple[str, ...]) -> list[Change]:
    """Each modality kept, the others those of each donor."""
    return [Change("donor", others(modalities, [name]), donor=donor) for name in modalities for donor in range(DONORS)]


def projection(kept: Tensor, donors: Tensor) -> Tensor:
    """The empirical multimodally additive projection [n, K] (Hessel and Lee 2020, Eq. 3) from logits kept [M, J, n, K]
    with modality m sample i's and the others donor j's.

    f(i) = sum_m E_j f_m(i, j) - (M - 1) E f; E f is over pairs of donors, so that a model that is a sum stays itself
    for any J. With all samples as donors it is the paper's.

    Args:
        donors: places [J] of the donors among the n.
    """
    own = kept.mean(1)
    return own.sum(0) - (len(kept) - 1) * own[:, donors].mean((0, 1))


def compute(setting: Setting) -> list[Entry]:
    """`score` of the projection, and `drop` to it: what only a combination of modalities gives."""
    runner = setting.runner
    rows = [
        torch.stack([_logits(setting, change) for change in changes(setting.modalities) if _keeps(setting, change, m)])
        for m in setting.modalities
    ]
    donors = runner.seen[setting.modalities[0]].donors(DONORS)
    scores = runner.task.scores(projection(torch.stack(rows), donors), runner.labels)
    found = setting.means([scores, runner.run(FULL).scores - scores])
    return [setting.entry("score", "all", found[0]), setting.entry("drop", "all", found[1])]


def _keeps(setting: Setting, change: Change, modality: str) -> bool:
    return change.modalities == others(setting.modalities, [modality])


def _logits(setting: Setting, change: Change) -> Tensor:
    logits = setting.runner.run(change).logits
    assert logits is not None
    return logits


def refusal(setting: Setting) -> str | None:
    """A sample's values must fit every batch; there must be enough samples."""
    ragged = [name for name, seen in setting.runner.seen.items() if not seen.has_donors]
    if ragged:
        return f"{', '.join(ragged)}: samples of several shapes cannot be swapped between batches"
    return f"fewer than {DONORS} samples" if setting.runner.samples < DONORS else None
