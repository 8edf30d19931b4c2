"""Losses on the last blocks beside joint-uni's: what deep-uni and aim-means share (aim.md section 13)."""

from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from equimodal.errors import UserError
from equimodal.methods.aim.auxiliary import Auxiliaries, BlockPass, Passes
from equimodal.methods.aim.blocks import Blocks
from equimodal.methods.aim.modulation import Logs, Score, block_weights, depth_loss, imbalance, named, score_logs
from equimodal.methods.base import Batch, Step, Task, Trainer
from equimodal.methods.deep_supervision.settings import DeepSupervisionSettings
from equimodal.methods.distributed import average
from equimodal.methods.joint_uni.method import JointUni
from equimodal.models.encoder import Encoder, detach, select
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
        self.blocks = Blocks(model, last=settings.depths)
        self.auxiliaries: Auxiliaries | None = None
        self._count = 0
        if settings.lambda_deep > 0:
            self.norm = FeatureNorm(self.width)
            if settings.pam:
                self.auxiliaries = Auxiliaries(self.blocks, settings.pdm, self._auxiliary_scores, task.seed)
                own = [*self.auxiliaries.named_parameters(), *self.auxiliaries.named_buffers()]
                self._ddp_params_and_buffers_to_ignore = [f"auxiliaries.{name}" for name, _ in own]

    def block_score(
        self, block: Block, features: Tensor, labels: Tensor, targets: Tensor, constant: bool = False
    ) -> Score:
        """L_d^m and s_d^m of features h_d^m [B, C_d] of samples with labels [B]; targets as in `modulation.score`.

        Args:
            constant: what reads the features learns nothing from it (auxiliary blocks).
        """
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
        weak, more = self._weak(outputs, batch.labels)
        deep, logs = self.deep_loss(self.features(outputs), batch.labels, weak)
        logs |= more
        return Step(loss + self.settings.lambda_deep * deep, outputs.logits, logs)

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        if self.auxiliaries is not None:
            self.auxiliaries.renewed = False

    def _weak(self, outputs: Outputs, labels: Tensor) -> tuple[Score | None, Logs]:
        """Scores [depths * M] of the auxiliary blocks, depth by depth, once the PDM has learned (aim.md section 12)."""
        own = self.auxiliaries
        if own is None:
            return None, {}

        def shown() -> Passes:
            return self._passes(outputs, labels, round(self.settings.pdm.fraction * len(labels)))

        logs = own.decouple(self._count, shown)
        self._count += 1
        weak, more = own.weak(self._passes(outputs, labels, len(labels)))
        return weak, logs | more

    def _passes(self, outputs: Outputs, labels: Tensor, count: int) -> Passes:
        """The first `count` samples (batches are shuffled), as constants."""
        found: Passes = {}
        for place in self.blocks.places:
            maps = select(self.blocks.stage(outputs, place).input, len(labels), slice(0, count))
            found[place] = BlockPass(detach(maps), count, labels[:count], None)
        return found

    def _auxiliary_scores(
        self, places: list[Block], features: list[Tensor], _: list[Tensor | None], labels: Tensor
    ) -> Score:
        """L_d^m and s_d^m of auxiliary or good blocks, normalised by their own batch; what reads them stays."""
        targets = self.task.objective.memberships(labels)
        found = []
        for place, z in zip(places, features, strict=True):
            h = functional.batch_norm(z.to(self.norm.running_mean), None, None, training=True, eps=self.norm.eps)
            found.append(self.block_score(place, h, labels, targets, constant=True))
        return _stacked(found)

    def extra(self) -> dict[str, Any]:
        return {"steps": self._count}

    def load_extra(self, state: dict[str, Any]) -> None:
        self._count = state["steps"]

    def deep_loss(self, features: Tensor, labels: Tensor, weak: Score | None = None) -> tuple[Tensor, Logs]:
        """sum_d alpha_d sum_m M (rho_d^m L_d^m + rho~_d^m L~_d^m) from the features [B, `width`] and the scores of
        auxiliary blocks, if there are any, and what to log of it.
        """
        modalities = self.model.modalities
        count, targets = len(modalities), self.task.objective.memberships(labels)
        parts = features.split([columns.stop - columns.start for columns in self.columns.values()], 1)
        own = dict(zip(self.columns, parts, strict=True))
        scores = {block: self.block_score(block, h, labels, targets) for block, h in own.items()}
        # A step of several processes is one step on all their batches: its blocks have one s, rho and alpha.
        s, *found = average(
            torch.stack([score.s for score in scores.values()]).view(count, -1),  # [M, depths]
            *([] if weak is None else [weak.s.view(-1, count).T]),
        )
        weak_losses = None if weak is None else weak.loss.view(-1, count)
        total: list[Tensor] = []
        weights: list[Tensor] = []
        logs: Logs = {}
        for place in range(self.settings.depths):
            blocks = [(modality, place) for modality in modalities]
            rho, rho_aux = block_weights(s[:, place], found[0][:, place] if found else None, apart=True)  # Eq. 12
            if not self.settings.rho:
                rho, rho_aux = torch.full_like(rho, 1 / count), torch.full_like(rho_aux, 1 / count)
            auxiliary = None if weak_losses is None else weak_losses[place]
            alpha = imbalance(s[:, place]) if self.settings.dam else torch.ones_like(rho[0])  # Eq. 14
            losses = torch.stack([scores[block].loss for block in blocks])
            total.append(alpha * count * depth_loss(losses, auxiliary, rho, rho_aux))
            if self.settings.dam:
                readouts = [self.readout_loss(block, own[block].detach(), labels) for block in blocks]
                learning = [loss for loss in readouts if loss is not None]
                if learning:
                    total.append((1 - alpha) * count * depth_loss(torch.stack(learning), None, rho, rho_aux))
            weights.append(rho)
            logs[f"depth{self.blocks.first + place + 1}/alpha"] = alpha
        places = [(modality, self.blocks.first + place) for modality, place in scores]
        logs |= score_logs(places, _stacked(list(scores.values())), s, torch.stack(weights, 1))
        if weak is not None:
            shown = [(modality, self.blocks.first + place) for modality, place in self.blocks.places]
            logs |= named(shown, "s_aux", weak.s) | named(shown, "L_aux", weak.loss.detach())
        return torch.stack(total).sum(), logs


def _stacked(scores: list[Score]) -> Score:
    """Scores of N blocks as one [N]."""
    names = [field.name for field in fields(Score)]
    return Score(*(torch.stack([getattr(each, name) for each in scores]) for name in names))
