"""On-the-fly modulation, OPM and OPM with OGM: Wei, Hu, Du, Wen, "On-the-fly Modulation for Balanced Multimodal
Learning", TPAMI 2024, arXiv 2410.11582 (methods.md section 13).
"""

import math

import torch
from torch import Tensor

from equimodal.methods.base import Batch, Step, Task, Trainer
from equimodal.methods.distributed import average
from equimodal.methods.ogm.method import OGM, ratios, true_class_scores
from equimodal.methods.opm.settings import OPMSettings
from equimodal.models.framework import MultimodalModel, pooled_features
from equimodal.seeding import generator


class OPM(OGM):
    """L = CE(f(keep * z / (1 - theta)), y); keep_i^m is 0 with probability q^m, which is above 0 for modalities that
    lead only. With `ogm`, the gradients of those modalities' encoders are made smaller, too.
    """

    paper = "TPAMI 2024"
    settings: OPMSettings

    def __init__(self, model: MultimodalModel, settings: OPMSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        # Of a short run the last epoch is modulated all the same.
        self._warmup = min(math.ceil(round(settings.warmup * task.epochs, 6)), task.epochs - 1)
        self._dropping = False
        self._draw = torch.Generator()
        self._widths = torch.tensor([model.fusion.dims[name] for name in model.modalities], dtype=torch.float64)

    def prepare(self, trainer: Trainer) -> None:
        self._widths = self._widths.to(trainer.device)
        if self.settings.ogm:
            super().prepare(trainer)

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        super().begin_epoch(epoch, trainer)
        self._dropping = epoch >= self._warmup
        self._active &= self.settings.ogm and self._dropping
        # Its own generator, by epoch: no other draw moves, and a resumed run draws the same.
        self._draw = generator(self.task.seed, "opm", epoch, device=trainer.device)

    def forward(self, batch: Batch) -> Step:
        features = pooled_features(self.model.encode(batch.inputs))
        with torch.no_grad():
            self._scores = true_class_scores(self.model.readout(features), batch.labels)
            # A step of several processes is one step on all their batches: it has one q.
            q = drop_probabilities(average(self._scores)[0], self.settings.q_base, self.settings.lam)
            q = q * self._executed(q)
        logits = self.model.fuse(self._dropped(features, q))
        logs: dict[str, Tensor] = {}
        for name, score, probability in zip(self.model.modalities, self._scores, q, strict=True):
            logs |= {f"{name}/score": score / len(batch.labels), f"{name}/q": probability}
        return Step(self.task.objective.loss(logits, batch.labels), logits, logs)

    def _executed(self, q: Tensor) -> Tensor:
        """1 if this batch is modulated, else 0 (a scalar on the device, so that nothing waits for it)."""
        if not self._dropping:
            return torch.zeros_like(q[0])
        drawn = torch.rand((), generator=self._draw, device=q.device)
        return (drawn < self.settings.p_exe).to(q)

    def _dropped(self, features: dict[str, Tensor], q: Tensor) -> dict[str, Tensor]:
        """z_i^m <- keep_i^m z_i^m / (1 - theta), keep_i^m ~ Bernoulli(1 - q^m), theta = sum_m d_m q^m / sum_m d_m.

        With q = 0 the very features: a factor of exactly 1.
        """
        samples = len(features[self.model.modalities[0]])
        drawn = torch.rand(len(q), samples, generator=self._draw, device=q.device)
        theta = (self._widths * q).sum() / self._widths.sum()
        factors = (drawn >= q[:, None]) / (1 - theta)  # [M, B]
        return {
            name: z * factor.to(z.dtype)[:, None] for (name, z), factor in zip(features.items(), factors, strict=True)
        }

    def end_epoch(self, epoch: int, trainer: Trainer) -> dict[str, float]:
        return super().end_epoch(epoch, trainer) if self.settings.ogm else {}


def drop_probabilities(scores: Tensor, q_base: float, lam: float) -> Tensor:
    """q^m [M], float64, of scores s^m [M]: q_base (1 + lam tanh(rho^m - 1)), at most 1, where rho^m > 1, else 0.

    rho^m as OGM's. The modality with the lowest score never leads, so that no sample loses all of its features.
    """
    rho = ratios(scores)
    q = (q_base * (1 + lam * torch.tanh(rho - 1))).clamp_max(1)
    return torch.where((rho > 1) & (scores > scores.min()), q, torch.zeros_like(q))
