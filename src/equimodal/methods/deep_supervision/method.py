"""Losses on the last blocks beside joint-uni's: what deep-uni and aim-means share (aim.md section 13)."""

from dataclasses import fields
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from equimodal.errors import UserError
from equimodal.methods.aim.modulation import Logs, Score, block_weights, depth_loss, imbalance, score_logs
from equimodal.methods.base import Batch, Step, Task
from equimodal.methods.deep_supervision.settings import DeepSupervisionSettings
from equimodal.methods.distributed import average
from equimodal.methods.joint_uni.method import JointUni
from equimodal.models.encoder import Encoder
from equimodal.models.framework import MultimodalModel, Outputs

Block = tuple[str, int]  # modality, place


class FeatureNorm(nn.BatchNorm1d):
    """Batch normalisation without gain and shift. A batch of one sample, which has no statistics of its own, is
    normalised by the running ones.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        assert self.running_mean is not None
        x = x.to(self.running_mean.dtype)
        if len(x) > 1:
            return super().forward(x)
        return functional.batch_norm(x, self.running_mean, self.running_var, eps=self.eps)


class DeepSupervision(JointUni):
    """L = joint-uni's + lambda sum_d alpha_d sum_m M rho_d^m L_d^m over the last `depths` blocks of every encoder.

    L_d^m is a subclass's loss of h_d^m, the block's pooled output after batch normalisation; s_d^m its mean true-class
    probability, of which rho (Eq. 12) and alpha (Eq. 14) are made. Encoders of unequal depth meet at their last blocks.

    Attributes:
        columns: of every supervised block in `features`; a block is (modality, place), place `depths` - 1 the last one.
    """

    name: ClassVar[str]
    settings: DeepSupervisionSettings

    def __init__(self, model: MultimodalModel, settings: DeepSupervisionSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self.columns: dict[Block, slice] = {}
        self.width = 0
        counts: list[int] = []
        for modality, encoder in model.encoders.items():
            assert isinstance(encoder, Encoder)
            counts.append(len(encoder.blocks))
            if counts[-1] < settings.depths:
                raise UserError(
                    f"{self.name}: depths = {settings.depths}, but the encoder of '{modality}' has {counts[-1]}"
                    f" block{'s' * (counts[-1] > 1)}: lower methods.{self.name}.depths"
                )
            for place, width in enumerate(encoder.dims[-settings.depths :]):
                self.columns[modality, place] = slice(self.width, self.width + width)
                self.width += width
        self._first = min(counts) - settings.depths + 1  # depth of place 0 in logs, which count to the shallowest's end
        if settings.lambda_deep > 0:
            self.norm = FeatureNorm(self.width)

    def block_score(self, block: Block, features: Tensor, labels: Tensor, targets: Tensor) -> Score:
        """L_d^m and s_d^m of features h_d^m [B, C_d] of samples with labels [B]; targets as in `modulation.score`."""
        raise TypeError(f"{type(self).__name__} must define block_score")

    def readout_loss(self, block: Block, features: Tensor, labels: Tensor) -> Tensor | None:
        """L_d^m as far as it trains what reads the features [B, C_d], constants here; None: nothing there learns.

        For `dam`: alpha_d weighs what reaches the encoders, and what reads their blocks learns as with alpha_d = 1. It
        starts where all modalities score alike, alpha_d = 0, and would stay there.
        """
        return None

    def features(self, outputs: Outputs) -> Tensor:
        """h of all supervised blocks side by side [B, `width`]: batch normalisation is by channel."""
        lines = [outputs.stages[modality][-self.settings.depths :] for modality in self.model.modalities]
        features: Tensor = self.norm(torch.cat([stage.pooled for line in lines for stage in line], 1))
        return features

    def forward(self, batch: Batch) -> Step:
        outputs: Outputs = self.model(batch.inputs)
        loss = self.loss(batch, outputs)
        if self.settings.lambda_deep == 0:
            return Step(loss, outputs.logits, {})  # bit for bit joint-uni
        deep, logs = self.deep_loss(self.features(outputs), batch.labels)
        return Step(loss + self.settings.lambda_deep * deep, outputs.logits, logs)

    def deep_loss(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Logs]:
        """sum_d alpha_d sum_m M rho_d^m L_d^m from the features [B, `width`], and what to log of it."""
        modalities = self.model.modalities
        count, targets = len(modalities), self.task.objective.memberships(labels)
        parts = features.split([columns.stop - columns.start for columns in self.columns.values()], 1)
        own = dict(zip(self.columns, parts, strict=True))
        scores = {block: self.block_score(block, h, labels, targets) for block, h in own.items()}
        # A step of several processes is one step on all their batches: its blocks have one s, rho and alpha.
        (s,) = average(torch.stack([score.s for score in scores.values()]).view(count, -1))  # [M, depths]
        total: list[Tensor] = []
        weights: list[Tensor] = []
        logs: Logs = {}
        for place in range(self.settings.depths):
            blocks = [(modality, place) for modality in modalities]
            rho, none = block_weights(s[:, place])  # Eq. 12
            if not self.settings.rho:
                rho = torch.full_like(rho, 1 / count)
            alpha = imbalance(s[:, place]) if self.settings.dam else torch.ones_like(rho[0])  # Eq. 14
            losses = torch.stack([scores[block].loss for block in blocks])
            total.append(alpha * count * depth_loss(losses, None, rho, none))
            if self.settings.dam:
                readouts = [self.readout_loss(block, own[block].detach(), labels) for block in blocks]
                learning = [loss for loss in readouts if loss is not None]
                if learning:
                    total.append((1 - alpha) * count * depth_loss(torch.stack(learning), None, rho, none))
            weights.append(rho)
            logs[f"depth{self._first + place}/alpha"] = alpha
        places = [(modality, self._first - 1 + place) for modality, place in scores]
        names = [field.name for field in fields(Score)]
        score = Score(*(torch.stack([getattr(each, name) for each in scores.values()]) for name in names))
        return torch.stack(total).sum(), logs | score_logs(places, score, s, torch.stack(weights, 1))
