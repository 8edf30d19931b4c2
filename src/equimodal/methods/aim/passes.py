"""What AIM's parts hand each other: terms of a batch, passes of a block, scalars to log."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from equimodal.methods.aim import modulation

Logs = dict[str, Tensor]


@dataclass(frozen=True)
class Terms:
    """What AIM adds on a batch: lambda L_mod + Eq. 5 (None when nothing has weight), the samples' logits and features, scalars to log."""

    loss: Tensor | None
    logits: Tensor
    features: dict[str, Tensor]
    logs: Logs


@dataclass(frozen=True)
class BlockPass:
    """What the PDM needs of a block's pass: I_d and targets (`modulation.score`) of the samples it is shown, and the prototypes there (None with labels)."""

    inputs: Any
    prototypes: Tensor | None
    targets: Tensor


def block_logs(name: str, block: modulation.Score, rho: Tensor, prototypes: Tensor | None) -> Logs:
    """Scalars of one original block, as `{name}/...` (aim.md section 7)."""
    logs = {
        f"{name}/s": block.s,
        f"{name}/L": block.loss.detach(),
        f"{name}/rho": rho,
        f"{name}/saturated_low": block.low,
        f"{name}/saturated_high": block.high,
    }
    if prototypes is not None:
        logs[f"{name}/prototype_cosine"] = modulation.off_diagonal_cosine(prototypes)
    return logs
