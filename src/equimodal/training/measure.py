"""A model's measures on one split, as the loop logs them every epoch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equimodal.models.framework import MultimodalModel
from equimodal.objectives import Objective
from equimodal.training.data import DataModule, Split


@dataclass(frozen=True)
class Predictions:
    """Logits [n, outputs] of a split, fused and by modality (the fusion head's readout), and its labels [n];
    all on the CPU.
    """

    fused: Tensor
    unimodal: dict[str, Tensor]
    labels: Tensor


@torch.no_grad()
def predict(model: MultimodalModel, data: DataModule, split: Split, batch_size: int) -> Predictions:
    """Evaluate a split in evaluation mode; the model's mode is put back."""
    was_training = model.training
    model.eval()
    fused: list[Tensor] = []
    unimodal: dict[str, list[Tensor]] = {name: [] for name in model.modalities}
    labels: list[Tensor] = []
    for inputs, truth in data.evaluation_batches(split, batch_size):
        outputs = model(inputs)
        fused.append(outputs.logits.float().cpu())
        for name, logits in model.readout(outputs.features).items():
            unimodal[name].append(logits.float().cpu())
        labels.append(truth.cpu())
    model.train(was_training)
    return Predictions(
        torch.cat(fused), {name: torch.cat(parts) for name, parts in unimodal.items()}, torch.cat(labels)
    )


def measures(predictions: Predictions, objective: Objective, prefix: str) -> dict[str, float]:
    """Flat measures: {prefix}/loss, /accuracy, /macro_f1 and {prefix}/{modality}/accuracy; a regression adds /mae to
    each /accuracy.
    """
    return objective.measures(predictions.fused, predictions.unimodal, predictions.labels, prefix)
