"""Disentangled gradient learning, DGL: Wei, Luo, Luo, ICCV 2025, arXiv 2507.10213 (methods.md section 21.9)."""

from equimodal.methods.base import Batch, Method, Step, Trainer
from equimodal.methods.dgl.settings import DGLSettings
from equimodal.methods.optimizer import wants_sgd
from equimodal.models.framework import pooled_features
from equimodal.models.frozen import constant


class DGL(Method[DGLSettings]):
    """L = CE(f, y) + alpha sum_m CE(u^m, y): f of features that are constants, u^m the readouts of a fusion head that
    is constant.
    """

    paper = "ICCV 2025"

    def prepare(self, trainer: Trainer) -> None:
        if self.settings.alpha != 1:
            wants_sgd(trainer, "dgl", "divides alpha, a factor of all gradients of the encoders, away")

    def forward(self, batch: Batch) -> Step:
        features = pooled_features(self.model.encode(batch.inputs))
        fused = self.model.fuse({name: z.detach() for name, z in features.items()})
        with constant(self.model.fusion):
            alone = self.model.readout(features)
        loss = self.task.objective.loss(fused, batch.labels)
        logs = {"fused/loss": loss.detach()}
        for name, logits in alone.items():
            own = self.task.objective.loss(logits, batch.labels)
            loss = loss + self.settings.alpha * own
            logs[f"{name}/loss"] = own.detach()
        return Step(loss, fused, logs)
