"""Modality dropout: the head learns to answer without a modality, so that no encoder is idle."""

import torch

from equimodal.methods.base import Batch, Method, Step, Trainer
from equimodal.methods.modality_dropout.settings import ModalityDropoutSettings
from equimodal.models.framework import pooled_features
from equimodal.seeding import generator


class ModalityDropout(Method[ModalityDropoutSettings]):
    """L = CE(f(z * keep), y); keep_i^m is 0 for one modality, drawn alike, of a `share` of the samples, else 1."""

    paper = "baseline"

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        # A generator of its own, by epoch: no other draw moves, and a resumed run draws the same.
        self._draw = generator(self.task.seed, "modality-dropout", epoch, device=trainer.device)

    def forward(self, batch: Batch) -> Step:
        features = pooled_features(self.model.encode(batch.inputs))
        if self.settings.share > 0:  # 0 is joint training bit for bit
            drawn = torch.rand(len(batch.labels), generator=self._draw, device=batch.labels.device)
            lost = (drawn / self.settings.share * len(features)).long()
            features = {m: z * (lost != i)[:, None] for i, (m, z) in enumerate(features.items())}
        logits = self.model.fuse(features)
        return Step(self.task.objective.loss(logits, batch.labels), logits, {})
