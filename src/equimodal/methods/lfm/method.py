"""LFM: Yang, Wan, Jiang, Xu, "Facilitating Multimodal Classification via Dynamically Learning Modality Gap",
NeurIPS 2024 (methods.md section 21.4).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.methods.lfm.alignment import contrastive, jensen_shannon
from equimodal.methods.lfm.settings import LIMITS, LFMSettings
from equimodal.models.framework import MultimodalModel, Outputs
from equimodal.models.fusion import WeightedSum
from equimodal.seeding import generator


class LFM(Method[LFMSettings]):
    """L = (1 - w) CE(f, y) + w A, A how far apart the modalities are: contrastive on features, in `released` on
    predictions. The share w falls over the run, or follows d CE / d w through the last step.

    Attributes:
        share: w [].
        projections: Linear(d_m, min d) of each modality for the contrastive loss, where the features' widths differ.
    """

    paper = "NeurIPS 2024"
    share: Tensor

    def __init__(self, model: MultimodalModel, settings: LFMSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self.register_buffer("share", torch.tensor(settings.share))
        self.projections = nn.ModuleDict()
        self._off = settings.integration == "fixed" and settings.share == 0
        widths = model.fusion.dims
        if settings.variant == "paper" and not self._off and len(set(widths.values())) > 1:
            for name, width in widths.items():
                projection = nn.Linear(width, min(widths.values()), bias=False)
                nn.init.xavier_normal_(projection.weight, generator=generator(task.seed, "lfm", name))
                self.projections[name] = projection
        self._alignment = torch.zeros(())
        self._apart: list[Tensor] = []  # gradient of A, until the step's own is known
        self._turn: list[Tensor] = []  # minus the change of the last step's gradient by w: of A less of CE
        self._found: dict[str, Tensor] = {}

    @classmethod
    def adapt(cls, model: MultimodalModel, settings: LFMSettings, structure: dict[str, Any]) -> MultimodalModel:
        if settings.variant == "released":
            model.fusion = WeightedSum(model.fusion.dims, model.fusion.classes)
        return model

    def main_parameters(self) -> list[nn.Parameter]:
        return [*super().main_parameters(), *self.projections.parameters()]

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        self._turn, self._found = [], {}  # a resumed run has none either
        if self.settings.integration == "heuristic":
            self.share.fill_(-math.expm1(-1 / (epoch + 1)))

    def forward(self, batch: Batch) -> Step:
        outputs: Outputs = self.model(batch.inputs)
        fitting = self.task.objective.loss(outputs.logits, batch.labels)
        if self._off:
            return Step(self._scale * fitting, outputs.logits, {})  # in `paper` bit for bit joint training
        self._alignment = self._aligned(outputs.features)
        loss = self._scale * ((1 - self.share) * fitting + self.share * self._alignment)
        logs = {
            "fitting/loss": fitting.detach(),
            "alignment/loss": self._alignment.detach(),
            "alignment/share": self.share.clone(),
        }
        return Step(loss, outputs.logits, logs)

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        step: Step = trainer.module(batch)
        if self.settings.integration == "learned":
            self._apart = trainer.gradients(self._alignment, self._trained())
        trainer.optimize(step.loss)
        return Step(step.loss, step.logits, step.logs | self._found)

    @torch.no_grad()
    def after_backward(self, trainer: Trainer) -> None:
        """Move w along minus the derivative of this batch's CE, at the weights that the last step led to, by that
        step's w.
        """
        if not self._apart:
            return
        apart, self._apart = self._apart, []
        total = [torch.zeros_like(p) if p.grad is None else p.grad / self._scale for p in self._trained()]
        fitting = [(g - self.share * a) / (1 - self.share) for g, a in zip(total, apart, strict=True)]
        if self._turn:
            # One step theta - eta ((1 - w) g + w a) has the derivative -eta (a - g) by w.
            wanted = cosine(fitting, self._turn)
            self._found = {"alignment/wanted": wanted}
            self.share.add_(self.settings.share_rate / self.task.steps * wanted).clamp_(*LIMITS)
        self._turn = [a - g for a, g in zip(apart, fitting, strict=True)]

    @property
    def _scale(self) -> int:
        return 2 if self.settings.variant == "released" else 1

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.main_parameters() if parameter.requires_grad]

    def _aligned(self, features: dict[str, Tensor]) -> Tensor:
        if self.settings.variant == "released":
            alone = self.model.readout(features).values()
            return jensen_shannon([self.task.objective.log_probabilities(logits) for logits in alone])
        projected = [self.projections[m](z) if self.projections else z for m, z in features.items()]
        return contrastive(projected, self.settings.temperature)


def cosine(first: list[Tensor], second: list[Tensor]) -> Tensor:
    """Cosine [] of two gradients, over all their tensors; 0 where either is zero or not finite."""
    inner = torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum()
    lengths = [torch.linalg.vector_norm(torch.stack(torch._foreach_norm(part))) for part in (first, second)]
    return (inner / (lengths[0] * lengths[1])).nan_to_num(0, 0, 0)
