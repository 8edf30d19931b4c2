"""Joint training with unimodal losses: the strong and simple baseline that most papers leave out (methods.md 4.3)."""

from torch import Tensor

from equimodal.methods.base import Batch, Method
from equimodal.models.framework import Outputs


class JointUni(Method):
    """L = CE(f, y) + weight * sum_m CE(u^m, y), u^m each modality's readout from the fusion head
    (gradient flows into the head too).
    """

    paper = "baseline"

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        loss = super().loss(batch, outputs)
        weight: float = self.settings.weight  # type: ignore[attr-defined]
        if weight == 0:
            return loss  # bit for bit joint training
        for logits in self.model.readout(outputs.features).values():
            loss = loss + weight * self.task.objective.loss(logits, batch.labels)
        return loss
