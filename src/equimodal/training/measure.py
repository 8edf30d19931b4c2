"""A model's outputs and measures on one split, as the loop logs them every epoch and methods ask for them."""

import torch
from torch import Tensor

from equimodal.methods.base import Split, SplitFeatures
from equimodal.models.framework import MultimodalModel
from equimodal.models.frozen import evaluation_mode
from equimodal.objectives import Objective
from equimodal.training.data import DataModule


@torch.no_grad()
def predict(model: MultimodalModel, data: DataModule, split: Split, batch_size: int) -> SplitFeatures:
    """Pass a split through a model, evaluation inputs and mode; every module's mode is put back. All on the CPU."""
    logits: list[Tensor] = []
    features: dict[str, list[Tensor]] = {name: [] for name in model.modalities}
    readouts: dict[str, list[Tensor]] = {name: [] for name in model.modalities}
    labels: list[Tensor] = []
    with evaluation_mode(model):
        for inputs, truth in data.evaluation_batches(split, batch_size):
            outputs = model.predict(inputs)
            logits.append(outputs.logits.float().cpu())
            labels.append(truth.cpu())
            for name, alone in model.readout(outputs.features).items():
                readouts[name].append(alone.float().cpu())
                features[name].append(outputs.features[name].float().cpu())
    return SplitFeatures(_joined(features), _joined(readouts), torch.cat(logits), torch.cat(labels))


def _joined(parts: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat(found) for name, found in parts.items()}


def measures(found: SplitFeatures, objective: Objective, prefix: str) -> dict[str, float]:
    """Flat measures: {prefix}/loss, /accuracy, /macro_f1 and {prefix}/{modality}/accuracy; a regression adds /mae to
    each /accuracy.
    """
    return objective.measures(found.logits, found.readouts, found.labels, prefix)
