"""joint-uni with deep supervision: a linear classifier on each of the last blocks (aim.md section 13)."""

from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from equimodal.methods.aim.modulation import Score, score
from equimodal.methods.base import Task
from equimodal.methods.deep_supervision.method import Block, DeepSupervision
from equimodal.methods.deep_uni.settings import DeepUniSettings
from equimodal.models.framework import MultimodalModel


class DeepUni(DeepSupervision):
    """L_d^m = CE(W h_d^m + b, y), in a regression its loss; W and b from zero, trained with the framework, and the
    gradient flows into the encoder.
    """

    name = "deep-uni"
    paper = "baseline"

    def __init__(self, model: MultimodalModel, settings: DeepUniSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self.classifiers = nn.ModuleDict()
        if settings.lambda_deep > 0:
            for (name, place), columns in self.columns.items():
                width, outputs = columns.stop - columns.start, task.objective.outputs
                self.classifiers[f"{name}_{place}"] = _from_zero(width, outputs)

    def main_parameters(self) -> list[nn.Parameter]:
        return [*super().main_parameters(), *self.classifiers.parameters()]

    def logits(self, block: Block, features: Tensor, constant: bool = False) -> Tensor:
        """W h + b [B, outputs] of a block's features h [B, C_d]; W and b constants, if asked."""
        name, place = block
        own = self.classifiers[f"{name}_{place}"]
        assert isinstance(own, nn.Linear)
        if constant:
            return nn.functional.linear(features, own.weight.detach(), own.bias.detach())
        logits: Tensor = own(features)
        return logits

    def block_score(
        self, block: Block, features: Tensor, labels: Tensor, targets: Tensor, constant: bool = False
    ) -> Score:
        logits = self.logits(block, features, constant)
        found = score(self.task.objective.log_probabilities(logits.detach()), targets)
        return replace(found, loss=self.task.objective.loss(logits, labels))

    def readout_loss(self, block: Block, features: Tensor, labels: Tensor) -> Tensor:
        return self.task.objective.loss(self.logits(block, features), labels)


def _from_zero(width: int, outputs: int) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, width, outputs)  # its own start would draw from the global generator
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return cast(nn.Linear, layer)
