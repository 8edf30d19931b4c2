"""A fusion head on frozen encoders, each from a trained model of one modality: a simple baseline that papers leave out
(methods.md 4.4).
"""

from typing import Self

from torch import nn

from equimodal.methods.base import Method, Task
from equimodal.methods.frozen.settings import FrozenSettings
from equimodal.models.framework import MultimodalModel


class Frozen(Method[FrozenSettings]):
    """L = CE(f, y), of which only the fusion head learns. Every encoder is that of the single-modality model of the
    same seed (the epoch that validation chose), in evaluation mode: neither its weights nor its running statistics
    move.
    """

    paper = "baseline"

    def __init__(self, model: MultimodalModel, settings: FrozenSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        model.encoders.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.model.encoders.eval()
        return self

    def main_parameters(self) -> list[nn.Parameter]:
        return list(self.model.fusion.parameters())
