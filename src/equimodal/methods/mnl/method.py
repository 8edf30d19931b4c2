"""Multimodal negative learning, MNL: Gong, Gao, Zhu, Hu, Cao, NeurIPS 2025 (methods.md section 18)."""

import torch
from torch import Tensor

from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.methods.mnl.settings import MNLSettings
from equimodal.methods.scores import of_true_class
from equimodal.models.framework import MultimodalModel


class MNL(Method[MNLSettings]):
    """L = CE(f, y) + weight sum_m CE(u^m, y) + guidance NL, u^m each modality's readout and NL the cross entropy of
    weaker modalities against what the strongest one says of the classes other than the label's.
    """

    paper = "NeurIPS 2025"

    def __init__(self, model: MultimodalModel, settings: MNLSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self._window = settings.window_epochs(task.epochs)
        self._teaches = False

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        self._teaches = self.settings.guidance > 0 and epoch in self._window

    def forward(self, batch: Batch) -> Step:
        outputs = self.model(batch.inputs)
        loss = self.loss(batch, outputs)
        if self.settings.weight == 0 and not self._teaches:
            return Step(loss, outputs.logits, {})  # bit for bit joint training
        alone = self.model.readout(outputs.features)
        if self.settings.weight > 0:
            for logits in alone.values():
                loss = loss + self.settings.weight * self.task.objective.loss(logits, batch.labels)
        if not self._teaches:
            return Step(loss, outputs.logits, {})  # bit for bit joint-uni
        log_p = torch.stack(list(alone.values())).float().log_softmax(2)
        with torch.no_grad():
            strongest, taught = guided(log_p, outputs.logits.float(), batch.labels)
        negative = negative_loss(log_p, batch.labels, strongest, taught, self.settings.non_target)
        logs = {"negative/loss": negative.detach()}
        for place, name in enumerate(alone):
            logs[f"{name}/taught"] = taught[place].double().mean()
            logs[f"{name}/guides"] = ((strongest == place) & taught.any(0)).double().mean()
        return Step(loss + self.settings.guidance * negative, outputs.logits, logs)


def label_mask(labels: Tensor, classes: int) -> Tensor:
    """True at each sample's class [B, K], labels [B]; unlike one_hot without a look at the values."""
    return labels[:, None] == torch.arange(classes, device=labels.device)


def guided(log_p: Tensor, fused: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Who teaches whom: the strongest modality [B], by number, and whom it teaches [M, B].

    With j the class other than y that the fused logits give most, xi^m = u^m_y - u^m_j. The strongest has the largest
    xi; it teaches those whose xi and whose p_y are both below its own. Equal ones teach each other nothing.

    Args:
        log_p: log softmax of the modalities' logits [M, B, K]; differences of log p are those of the logits.
        fused: logits [B, K].
        labels: [B].
    """
    rival = fused.masked_fill(label_mask(labels, fused.shape[1]), -torch.inf).argmax(1)
    true = of_true_class(log_p, labels)
    margins = true - of_true_class(log_p, rival)
    strongest = margins.argmax(0)
    guide = strongest[None]
    return strongest, (margins < margins.gather(0, guide)) & (true < true.gather(0, guide))


def negative_loss(log_p: Tensor, labels: Tensor, strongest: Tensor, taught: Tensor, non_target: float) -> Tensor:
    """NL [] = -1/(B K) sum over taught (m, i) of log p^m_y + w sum_{k != y} p^a_k log p^m_k, a the strongest modality
    of the sample, whose p is a constant.

    Args:
        log_p: log softmax of the modalities' logits [M, B, K].
        labels, strongest, taught: [B], [B] and [M, B].
        non_target: w.
    """
    batch, classes = log_p.shape[1:]
    guide = log_p.detach()[strongest, torch.arange(batch, device=log_p.device)].exp()
    target = torch.where(label_mask(labels, classes), 1.0, non_target * guide)
    return -((target * log_p).sum(2) * taught).sum() / (batch * classes)
