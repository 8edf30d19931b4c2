"""InfoReg: Huang, Wei, Yang, Hu, "Adaptive Unimodal Regulation for Balanced Multimodal Information Acquisition",
CVPR 2025, arXiv 2503.18595 (methods.md section 21.2).
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from equimodal.methods.base import Batch, Step, Task, Trainer
from equimodal.methods.distributed import average
from equimodal.methods.inforeg.settings import InfoRegSettings
from equimodal.methods.joint_uni.method import JointUni
from equimodal.models.framework import MultimodalModel, Outputs
from equimodal.objectives import by_target

RELEASED_FACTORS = (0.95, 0.10)  # of the first modality, audio there, and of others
RELEASED_EPOCHS = 10  # whose mean trace the released code compares with that of one epoch before


class InfoReg(JointUni):
    """While the Fisher trace grows, the prime learning window, encoder m's gradient gets alpha^m (w - w_0): w_0 its
    weights at the epoch's start, alpha^m above 0 for modalities that lead.
    """

    paper = "CVPR 2025"
    settings: InfoRegSettings

    def __init__(self, model: MultimodalModel, settings: InfoRegSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self._released = settings.variant == "released"
        self._traces: list[float] = []
        self._prime = False
        self._starts: dict[str, list[Tensor]] = {}
        self._pull = torch.zeros(len(model.modalities))
        self._sums = torch.zeros(2)

    def extra(self) -> dict[str, Any]:
        return {"traces": self._traces}

    def load_extra(self, state: dict[str, Any]) -> None:
        self._traces = state["traces"]

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        self._prime = growth(self._traces, self._released) > self.settings.threshold
        self._starts = {
            name: [parameter.detach().clone() for parameter in encoder.parameters()]
            for name, encoder in self.model.encoders.items()
            if self._prime
        }
        self._sums = torch.zeros(2, dtype=torch.float64, device=trainer.device)  # of squared norms, and steps

    def forward(self, batch: Batch) -> Step:
        if not self._prime:
            return super().forward(batch)
        outputs: Outputs = self.model(batch.inputs)
        with torch.no_grad():
            # The gradients are those of all processes: so must the pull be.
            (scores,) = average(self._scores(outputs, batch.labels))
            self._pull = pulls(scores, self.settings.beta, self._released)
        logs: dict[str, Tensor] = {}
        for name, score, pull in zip(self.model.modalities, scores, self._pull, strict=True):
            logs |= {f"{name}/score": score, f"{name}/pull": pull}
        return Step(self.loss(batch, outputs), outputs.logits, logs)

    def _scores(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """s^m [M], float64: mean log probability that each modality's readout gives the true class; released: the sum
        of the probabilities over the batch.
        """
        objective = self.task.objective
        readouts = self.model.readout(outputs.features).values()
        known = torch.stack([objective.log_probabilities(logits.double()) for logits in readouts])
        targets = objective.memberships(labels)
        return by_target(known.exp(), targets).sum(1) if self._released else by_target(known, targets).mean(1)

    def after_backward(self, trainer: Trainer) -> None:
        gradients = {
            name: [cast(Tensor, parameter.grad) for parameter in encoder.parameters()]
            for name, encoder in self.model.encoders.items()
        }
        lengths = torch._foreach_norm([each for parts in gradients.values() for each in parts])
        square = torch.stack(lengths).double().square().sum()  # before the pull: what the loss knows of the data
        # 16-mixed: the step of a gradient that overflowed is left out.
        self._sums += torch.where(square.isfinite(), torch.stack([square, torch.ones_like(square)]), 0.0)
        if self._prime:
            for (name, encoder), pull in zip(self.model.encoders.items(), self._pull, strict=True):
                away = torch._foreach_sub([p.detach() for p in encoder.parameters()], self._starts[name])
                torch._foreach_mul_(away, pull.to(away[0].dtype))
                torch._foreach_add_(gradients[name], away)

    def end_epoch(self, epoch: int, trainer: Trainer) -> dict[str, float]:
        squares, steps = average(self._sums)[0].tolist()
        self._traces.append(squares / max(1.0, steps))
        return {"fisher/trace": self._traces[-1], "fisher/prime": float(self._prime)}


def growth(traces: Sequence[float], released: bool = False) -> float:
    """(Tr F^{t-1} - Tr F^{t-2}) / Tr F^{t-1} before epoch t, of the traces of epochs 0 to t - 1; 1, the most that there
    is, where there is nothing to compare.

    Args:
        released: of the sums over ten epochs, one epoch apart.
    """
    count = RELEASED_EPOCHS if released else 1
    last, before = sum(traces[-count:]), sum(traces[-count - 1 : -1])
    return (last - before) / last if last > 0 else 1.0


def pulls(scores: Tensor, beta: float, released: bool = False) -> Tensor:
    """alpha^m [M] of scores s^m [M]: exp(beta tanh D^m) where D^m > 0, else 0; D^m is the mean of what m leads those
    by whose score is lower.

    Args:
        released: 0.95 exp(tanh D) for the first modality, 0.1 exp(tanh D) for others.
    """
    leads = scores[:, None] - scores
    ahead = leads > 0
    lead = (leads * ahead).sum(1) / ahead.sum(1).clamp_min(1)
    if released:
        factors = torch.full_like(scores, RELEASED_FACTORS[1])
        factors[0] = RELEASED_FACTORS[0]
        found = factors * torch.exp(torch.tanh(lead))
    else:
        found = torch.exp(beta * torch.tanh(lead))
    return torch.where(lead > 0, found, 0.0)
