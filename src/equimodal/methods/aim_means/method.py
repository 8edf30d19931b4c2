"""joint-uni with AIM's losses on the last blocks, their prototypes running class means (aim.md section 13)."""

import torch
from torch import Tensor

from equimodal.methods.aim.modulation import Logs, Score, log_probabilities, score
from equimodal.methods.aim_means.settings import AIMMeansSettings
from equimodal.methods.base import Batch, Step, Task, Trainer
from equimodal.methods.deep_supervision.method import Block, DeepSupervision
from equimodal.models.framework import MultimodalModel

FLOOR = 1e-3  # of a batch's within-class variance
TINY = 1e-12


class AIMMeans(DeepSupervision):
    """L_d^m = -log softmax_k(-||(h_d^m - P_k) / sqrt(v)||)_y with constants P and v: running means and within-class
    variance of h of that block.

    Attributes:
        means, variance: P [K, W] and v [W] of all blocks side by side, as `features` are; buffers.
        seen: classes that have been visited [K]; a buffer.
    """

    name = "aim-means"
    paper = "baseline"
    settings: AIMMeansSettings
    means: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(self, model: MultimodalModel, settings: AIMMeansSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self._waiting: Tensor | None = None
        if settings.lambda_deep > 0:
            self.register_buffer("means", torch.zeros(task.classes, self.width))  # h has mean 0 and variance 1
            self.register_buffer("variance", torch.ones(self.width))
            self.register_buffer("seen", torch.zeros(task.classes, dtype=torch.bool))

    def deep_loss(self, features: Tensor, labels: Tensor, weak: Score | None = None) -> tuple[Tensor, Logs]:
        self._waiting = features.detach()
        return super().deep_loss(features, labels, weak)

    def block_score(
        self, block: Block, features: Tensor, labels: Tensor, targets: Tensor, constant: bool = False
    ) -> Score:
        columns = self.columns[block]
        spread = self.variance[columns].sqrt()
        return score(log_probabilities(features / spread, self.means[:, columns] / spread), targets)

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        step = super().training_step(batch, trainer)
        if self._waiting is not None:
            self.update(self._waiting, batch.labels, trainer)
            self._waiting = None
        return step

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor, trainer: Trainer) -> None:
        """P_k <- .9^{n_k} P_k + (1 - .9^{n_k}) mean_k, a class's first visit sets it; v <- .95 v + .05 max(mean_i (h -
        P_y)^2, 1e-3) with P from before. On a grid n_k and both means are weighted by memberships.

        Args:
            features: h of the step's batch [B, W]; labels: [B]. Sums are over the batches of all processes.
        """
        members = self.task.objective.memberships(labels)
        if members.dim() == 1:
            members = members[:, None] == torch.arange(self.task.classes, device=members.device)
        members = members.to(features.dtype)  # [B, K]
        own = members @ self.means  # P_y
        # The mean over a label's prototypes of (h - P_k)^2: from their mean, and their variance about it (a class: 0).
        apart = (features - own).square() + (members @ self.means.square() - own.square())
        sums = torch.cat([members.T @ features, apart.sum(0, keepdim=True)])  # [K + 1, W]
        counts = torch.cat([members.sum(0), members.new_full((1,), len(labels))])
        sums, counts = trainer.total(torch.cat([sums, counts[:, None]], 1)).split([self.width, 1], 1)
        n, mean = counts[:-1], sums[:-1] / counts[:-1].clamp_min(TINY)
        kept = torch.where(self.seen[:, None] | (n == 0), self.settings.mean_decay**n, 0)
        self.means.mul_(kept).add_((1 - kept) * mean)
        variance = (sums[-1] / counts[-1]).clamp_min(FLOOR)
        self.variance.lerp_(variance, 1 - self.settings.variance_decay)
        self.seen |= n[:, 0] > 0
