"""Mean prediction of trained models of one modality each: a simple baseline that papers leave out (methods.md 4.4)."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from equimodal.methods.base import Batch, Method, Step, Trainer
from equimodal.methods.ensemble.settings import EnsembleSettings
from equimodal.models.framework import MultimodalModel
from equimodal.models.fusion import Sum, mean_prediction


class MeanPrediction(Sum):
    """One Linear per modality, whose output u^m is its readout; the fused logits are log(1/M sum_m softmax(u^m)), of a
    regression 1/M sum_m u^m.

    Args:
        dims, classes: as every fusion head's.
        regression: the outputs are numbers.
    """

    def __init__(self, dims: dict[str, int], classes: int, regression: bool) -> None:
        super().__init__(dims, classes)
        self.regression = regression

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        each = torch.stack(list(self.readout(features).values()))  # [M, B, K]
        return mean_prediction(each, self.regression)


class Ensemble(Method[EnsembleSettings]):
    """Encoders and classifiers of the single-modality models of the same seed (the epochs that validation chose), as
    they are: the run is one epoch that measures them and takes no step.
    """

    paper = "baseline"

    @classmethod
    def run_epochs(cls, settings: EnsembleSettings, epochs: int) -> int:
        return 1

    @classmethod
    def adapt(cls, model: MultimodalModel, settings: EnsembleSettings, structure: dict[str, Any]) -> MultimodalModel:
        fusion = model.fusion
        model.fusion = MeanPrediction(fusion.dims, fusion.classes, regression=fusion.averaged)
        return model

    def load_unimodal(self, models: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().load_unimodal(models)
        linears = {
            f"linears.{name}.{part}": state[f"fusion.linear.{part}"]
            for name, state in models.items()
            for part in ("weight", "bias")
        }
        self.model.fusion.load_state_dict(linears)

    def train(self, mode: bool = True) -> Self:
        return super().train(False)

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        with torch.no_grad():
            step: Step = trainer.module(batch)
        return step
