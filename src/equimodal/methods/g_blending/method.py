"""Gradient blending, G-Blend: Wang, Tran, Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?",
CVPR 2020, arXiv 1905.12681 (methods.md section 6).
"""

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from equimodal.methods.base import Batch, Method, Split, Step, Task, Trainer
from equimodal.methods.g_blending.settings import GBlendingSettings
from equimodal.methods.joint.method import Joint
from equimodal.methods.joint.settings import JointSettings
from equimodal.models.encoder import Encoder
from equimodal.models.framework import MultimodalModel
from equimodal.models.fusion import Concat
from equimodal.seeding import generator

FUSED = "fused"


class GBlending(Method[GBlendingSettings]):
    """L = sum_k w_k L_k over a linear head on each modality's feature and the fused head. w_k is estimated from what
    training copies of the model, each on one of the losses alone, gains on held-out samples, and how much it overfits.

    Attributes:
        heads: Linear(d_m, outputs) of each modality, each the fusion head of a model of one modality.
        weights: w, of the modalities in order, then of the fused head; they sum to 1 where they are estimated.
    """

    paper = "CVPR 2020"

    def __init__(self, model: MultimodalModel, settings: GBlendingSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self.heads = nn.ModuleDict()
        for name, width in model.fusion.dims.items():
            head = Concat({name: width}, model.fusion.classes)
            nn.init.xavier_normal_(head.linear.weight, generator=generator(task.seed, "g-blending", name))
            nn.init.zeros_(head.linear.bias)
            self.heads[name] = head
        self.names = [*model.modalities, FUSED]
        self.weights = list(settings.weights or [1 / len(self.names)] * len(self.names))
        self._span = task.epochs if settings.mode == "offline" else settings.super_epoch
        self._ahead = range(0)  # epochs that an estimate before the next step looks at
        self._estimate: dict[str, float] = {}

    def main_parameters(self) -> list[nn.Parameter]:
        return [*super().main_parameters(), *self.heads.parameters()]

    def extra(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def load_extra(self, state: dict[str, Any]) -> None:
        self.weights = state["weights"]

    def prepare(self, trainer: Trainer) -> None:
        if self.settings.weights is None:
            trainer.hold_out(self.settings.held_out)

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        due = self.settings.weights is None and epoch % self._span == 0
        self._ahead = range(epoch, min(epoch + self._span, self.task.epochs)) if due else range(0)
        self._estimate = {}

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        if self._ahead:  # before the epoch's first step, as a part of its work
            self._blend(trainer)
            self._ahead = range(0)
        return super().training_step(batch, trainer)

    def forward(self, batch: Batch) -> Step:
        outputs = self.model(batch.inputs)
        # A head of weight 0 has no pass, and its parameters stand still.
        weights = {name: weight for name, weight in zip(self.names, self.weights, strict=True) if weight > 0}
        logits = {name: outputs.logits if name == FUSED else self.heads[name](outputs.features) for name in weights}
        losses = {name: self.task.objective.loss(u, batch.labels) for name, u in logits.items()}
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        return Step(total, outputs.logits, {f"{name}/loss": loss.detach() for name, loss in losses.items()})

    def end_epoch(self, epoch: int, trainer: Trainer) -> dict[str, float]:
        return {f"{name}/weight": w for name, w in zip(self.names, self.weights, strict=True)} | self._estimate

    def _blend(self, trainer: Trainer) -> None:
        """Set the weights by what the epochs ahead do to each head that is trained alone (the paper's Algorithm 1)."""
        before, after = [], []
        for name in self.names:
            alone = self._alone(name)
            before.append(self._losses(trainer, alone))
            # The same order and augmentation for every head.
            trial = Joint(alone, JointSettings(), self.task)
            trainer.rehearse(trial, len(self._ahead), f"g-blending-{self._ahead.start}", scheduled=True)
            after.append(self._losses(trainer, alone))
        gain, overfitting = changes(torch.stack(before), torch.stack(after))
        for place, name in enumerate(self.names):
            self._estimate |= {f"{name}/gain": float(gain[place]), f"{name}/overfitting": float(overfitting[place])}
        found = blended(gain, overfitting, self.settings.least_overfitting)
        if bool(found.any()):
            self.weights = found.tolist()

    def _alone(self, name: str) -> MultimodalModel:
        """A copy of what a head is trained with when it is trained alone: its own modality's encoder, or all."""
        if name == FUSED:
            return copy.deepcopy(self.model)
        encoder, head = copy.deepcopy((self.model.encoders[name], self.heads[name]))
        return MultimodalModel({name: cast(Encoder, encoder)}, cast(Concat, head))

    def _losses(self, trainer: Trainer, model: MultimodalModel) -> Tensor:
        """Mean losses [2], float64, of a model on the samples that are trained on and on those held out."""
        splits: tuple[Split, Split] = ("train", "held-out")
        found = [trainer.features(split, model) for split in splits]
        return torch.stack([self.task.objective.loss(each.logits.double(), each.labels) for each in found]).double()


def changes(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """dG [H] = L_v - L_v', by how much each head's held-out loss falls, and dO [H] = (L_v' - L_t') - (L_v - L_t), by
    how much its overfitting grows, from losses [H, 2] on training and held-out samples before and after.
    """
    return before[:, 1] - after[:, 1], after.diff()[:, 0] - before.diff()[:, 0]


def blended(gain: Tensor, overfitting: Tensor, least: float) -> Tensor:
    """w_k [H] = dG_k / dO_k^2 over their sum, of dG [H] and dO [H]; |dO| is at least `least`. A head that gains nothing
    has weight 0; where none gains all are 0.
    """
    raw = torch.where(gain > 0, gain / overfitting.abs().clamp_min(least) ** 2, 0.0)
    return raw / raw.sum().clamp_min(torch.finfo(raw.dtype).tiny)
