"""Multimodal weight allocation, MWAM: Lu and others, "Plug, Play, and Fortify: A Low-Cost Module for Robust Multimodal
Image Understanding Models", ICLR 2026, arXiv 2602.22644 (methods.md section 20).
"""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.methods.distributed import average
from equimodal.methods.mwam.frequencies import cosines, frequency_ratios
from equimodal.methods.mwam.settings import MWAMSettings
from equimodal.methods.optimizer import wants_sgd
from equimodal.models.framework import MultimodalModel
from equimodal.models.padded import Input

log = logging.getLogger(__name__)


class MWAM(Method[MWAMSettings]):
    """Cross entropy on the fused logits; after the backward pass each encoder's gradient is multiplied by a weight from
    0.5 to 1.5, the smaller the more its input is made of low frequencies, compared with the modalities' mean.

    Attributes:
        basis: rows of the cosine transform; a buffer, not saved.
        bank: running mean of each modality's ratio [M]; a buffer, float64.
        batches: how many training batches it has seen []; a buffer.
    """

    paper = "ICLR 2026"
    basis: Tensor
    bank: Tensor
    batches: Tensor

    def __init__(self, model: MultimodalModel, settings: MWAMSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self._released = settings.variant == "released"
        self._weights: dict[str, Tensor] = {}
        self._warned = False
        self.register_buffer("basis", cosines(settings.patch, settings.corner), persistent=False)
        self.register_buffer("bank", torch.zeros(len(model.modalities), dtype=torch.float64))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def prepare(self, trainer: Trainer) -> None:
        wants_sgd(trainer, "mwam", "divides a constant factor of the gradient away, so that little is left")

    def forward(self, batch: Batch) -> Step:
        step = super().forward(batch)
        pictured = self._pictured(batch.inputs) if self.settings.slope > 0 else {}
        if not pictured:
            return step
        with torch.no_grad():
            ratios = torch.zeros_like(self.bank)
            for place, name in enumerate(self.model.modalities):
                if name in pictured:
                    each = frequency_ratios(pictured[name], self.basis)
                    ratios[place] = each.sum() if self._released else each.mean()
            # The gradients are those of all processes: so must the weights be.
            (ratios,) = average(ratios)
            weights = branch_weights(ratios, self._remembered(ratios).sum() / len(pictured), self.settings.slope)
        self._weights = {}
        logs: dict[str, Tensor] = {}
        for name, ratio, weight in zip(self.model.modalities, ratios, weights, strict=True):
            if name in pictured:
                self._weights[name] = weight
                logs |= {f"{name}/ratio": ratio, f"{name}/weight": weight}
        return Step(step.loss, step.logits, logs)

    def _pictured(self, inputs: Mapping[str, Input]) -> dict[str, Tensor]:
        """The inputs that have frequencies: spectrograms and pictures of at least one patch. None, and a warning, where
        there are no two to compare.
        """
        least = self.settings.patch
        found = {
            name: x
            for name, x in inputs.items()
            if isinstance(x, Tensor) and x.dim() >= 4 and min(x.shape[-2:]) >= least
        }
        if len(found) > 1:
            return found
        if not self._warned:
            log.warning(
                "mwam: fewer than two modalities are pictures or spectrograms of %d x %d or more: this is joint"
                " training",
                least,
                least,
            )
            self._warned = True
        return {}

    def _remembered(self, ratios: Tensor) -> Tensor:
        """The running means [M] with a batch's ratios [M] taken in; the first batch begins them, or as released 0."""
        begun = torch.ones_like(self.batches) if self._released else self.batches
        kept = self.settings.momentum * (begun > 0)
        self.bank.copy_(kept * self.bank + (1 - kept) * ratios)
        self.batches += 1
        return self.bank

    def after_backward(self, trainer: Trainer) -> None:
        for name, weight in self._weights.items():
            parameters = list(self.model.encoders[name].parameters())
            gradients = [p.grad for p in (parameters[:1] if self._released else parameters) if p.grad is not None]
            torch._foreach_mul_(gradients, weight.to(gradients[0].dtype))


def branch_weights(ratios: Tensor, mean: Tensor, slope: float) -> Tensor:
    """1.5 - sigmoid(slope (FRM^m / mean - 1)) [M], of a batch's ratios FRM^m and the mean [] of the running ones."""
    return 1.5 - torch.sigmoid(slope * (ratios / mean.clamp_min(torch.finfo(mean.dtype).tiny) - 1))
