"""Classification measures from a confusion matrix; torch only, because scikit-learn takes longer to import than an
epoch takes to run.
"""

import torch
from torch import Tensor


def confusion(predictions: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts [K, K]: rows are true classes, columns predicted ones."""
    return torch.bincount(labels.cpu() * classes + predictions.cpu(), minlength=classes * classes).view(
        classes, classes
    )


def accuracy(matrix: Tensor) -> float:
    """Share of samples on the diagonal."""
    return int(matrix.diagonal().sum()) / int(matrix.sum())


def recall(matrix: Tensor) -> list[float]:
    """Share of each class's samples that were found; 0 for a class without samples."""
    return (matrix.diagonal().double() / matrix.sum(1).clamp_min(1)).tolist()


def macro_f1(matrix: Tensor) -> float:
    """Mean over the classes that occur (as truth or prediction) of F1 = 2 TP / (2 TP + FP + FN),
    as scikit-learn's macro average.
    """
    hits = matrix.diagonal().double()
    total = matrix.sum(0) + matrix.sum(1)
    present = total > 0
    return float((2 * hits[present] / total[present]).mean())
