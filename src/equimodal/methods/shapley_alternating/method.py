"""Shapley-guided alternating training: Shi and others, "Modality Equilibrium Matters", arXiv 2506.00030 (methods.md
section 17), as a scheduler of MLA.
"""

from typing import Any

import torch
from torch import Tensor

from equimodal.methods.base import Batch, Split, SplitFeatures, Step, Task, Trainer
from equimodal.methods.distributed import average
from equimodal.methods.mla.method import MLA
from equimodal.methods.shapley import shapley_weights, subsets
from equimodal.methods.shapley_alternating.settings import ShapleyAlternatingSettings
from equimodal.models.framework import MultimodalModel


class ShapleyAlternating(MLA):
    """One modality at a time trains its encoder and the shared head, as in MLA, but for whole epochs, and it is the one
    whose Shapley value, in accuracy, is the smallest.

    Attributes:
        shapley: weights [M, 2^M - 1] of the subsets' values; a buffer.
        contributions: phi [M] as last measured; a buffer, float64.
        memory: class means [M, K, d] of what the head has seen of each modality; a buffer, with `memory` only.
        visited: classes [M, K] that have a memory; a buffer, with `memory` only.
    """

    paper = "arXiv 2506.00030"
    settings: ShapleyAlternatingSettings
    shapley: Tensor
    contributions: Tensor
    memory: Tensor
    visited: Tensor

    def __init__(self, model: MultimodalModel, settings: ShapleyAlternatingSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        count = len(model.modalities)
        self._active = model.modalities[0]
        self._split: Split = "held-out" if settings.held_out > 0 else "train"
        self._stale = False
        self._seen = torch.zeros(0)
        self.register_buffer("shapley", shapley_weights(count), persistent=False)
        self.register_buffer("contributions", torch.zeros(count, dtype=torch.float64))
        if settings.memory > 0:
            self.register_buffer("memory", torch.zeros(count, task.classes, self.head.width))
            self.register_buffer("visited", torch.zeros(count, task.classes, dtype=torch.bool))

    def extra(self) -> dict[str, Any]:
        return {**super().extra(), "active": self._active}

    def load_extra(self, state: dict[str, Any]) -> None:
        super().load_extra(state)
        self._active = state["active"]

    def prepare(self, trainer: Trainer) -> None:
        super().prepare(trainer)
        if self.settings.held_out > 0:
            trainer.hold_out(self.settings.held_out)

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        super().begin_epoch(epoch, trainer)
        self._stale = epoch % self.settings.interval == 0

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        if self._stale:  # before the epoch's first step, as a part of its work
            self._choose(trainer)
            self._stale = False
        step: Step = trainer.module(batch, self._active)
        trainer.optimize(step.loss)
        self._batch += 1
        if self.settings.memory > 0:
            self._remember(batch.labels, trainer)
        return step._replace(logs={f"{self._active}/loss": step.loss.detach(), **step.logs})

    @torch.no_grad()
    def _choose(self, trainer: Trainer) -> None:
        """Measure every modality's contribution; the smallest one's is trained, the first of equals."""
        found = trainer.features(self._split)
        values = self.shapley.new_tensor([self._value(part, found) for part in subsets(len(self.model.modalities))])
        # The same to the bit in all processes: they must train the same modality.
        (contributions,) = average(self.shapley @ values)
        self.contributions.copy_(contributions)
        self._active = self.model.modalities[int(self.contributions.argmin())]

    def _value(self, part: tuple[int, ...], found: SplitFeatures) -> float:
        """v(S): accuracy (of a regression minus the MAE) of the prediction that the head makes of the modalities S."""
        names = [self.model.modalities[place] for place in part]
        logits = self.head.merged({name: found.readouts[name] for name in names})
        objective = self.task.objective
        return objective.rank(objective.measures(logits, {}, found.labels, "train"), "train")[0]

    def modality_loss(self, modality: str, seen: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        loss = super().modality_loss(modality, seen, logits, labels)
        if self.settings.memory == 0:
            return loss
        self._seen = seen.detach().float()
        others = torch.arange(len(self.memory), device=seen.device) != self.model.modalities.index(modality)
        pull = memory_loss(seen.float(), self._members(labels), self.memory[others], self.visited[others])
        return loss + self.settings.memory * pull

    @torch.no_grad()
    def _remember(self, labels: Tensor, trainer: Trainer) -> None:
        """c_k <- momentum c_k + (1 - momentum) mean of the batch's features of class k, the first time that mean; of
        the batches of all processes.
        """
        members = self._members(labels)
        sums = trainer.total(torch.cat([members.T @ self._seen, members.sum(0)[:, None]], 1))
        totals, counts = sums[:, :-1], sums[:, -1:]
        place = self.model.modalities.index(self._active)
        kept = torch.where(self.visited[place][:, None], self.settings.memory_momentum, 0.0)
        kept = torch.where(counts > 0, kept, 1.0)
        self.memory[place] = kept * self.memory[place] + (1 - kept) * self.task.objective.means(totals, counts[:, 0])
        self.visited[place] |= counts[:, 0] > 0

    def _members(self, labels: Tensor) -> Tensor:
        """Weights [B, K] with which the samples are members of the classes (grid values), float32."""
        members = self.task.objective.memberships(labels)
        if members.dim() == 1:
            members = members[:, None] == torch.arange(self.task.classes, device=labels.device)
        return members.float()

    def end_epoch(self, epoch: int, trainer: Trainer) -> dict[str, float]:
        logs = super().end_epoch(epoch, trainer)
        for name, value in zip(self.model.modalities, self.contributions.tolist(), strict=True):
            logs |= {f"{name}/contribution": value, f"{name}/trained": float(name == self._active)}
        return logs


def memory_loss(seen: Tensor, members: Tensor, memory: Tensor, visited: Tensor) -> Tensor:
    """Mean over the batch of ||h_i - c_i||^2 / d, c_i the mean of the other modalities' memories of the sample's class;
    0 for a class of which there is none. No cosine: a sample that a modality lacks may have h = 0.

    Args:
        seen: h [B, d].
        members: weights of the samples' classes [B, K].
        memory, visited: class memories [M - 1, K, d] of the other modalities, and which there are [M - 1, K].
    """
    counts = visited.sum(0)
    means = (memory * visited[..., None]).sum(0) / counts.clamp_min(1)[:, None]
    with torch.autocast(seen.device.type, enabled=False):
        known = members @ (counts > 0).to(members.dtype)
        return (known * (seen - members @ means).square().mean(1)).mean()
