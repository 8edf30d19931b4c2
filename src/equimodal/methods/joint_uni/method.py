"""Joint training with unimodal losses: the strong and simple baseline that most papers leave out (methods.md 4.3)."""

from torch import Tensor

from equimodal.methods.base import Batch, Method
from equimodal.methods.joint_uni.settings import JointUniSettings
from equimodal.models.framework import Outputs


class JointUni(Method[JointUniSettings]):
    """L = CE(f, y) + weight * sum_m CE(u^m, y), u^m each modality's readout from the fusion head (gradient flows into
    the head too).
    """

    paper = "baseline"

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        loss = super().loss(batch, outputs)
        if self.settings.weight == 0:
            return loss  # bit for bit joint training
        for logits in self.model.readout(outputs.features).values():
            loss = loss + self.settings.weight * self.task.objective.loss(logits, batch.labels)
        return loss
