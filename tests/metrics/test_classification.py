"""Classification measures against scikit-learn."""

import pytest
import torch
from sklearn import metrics

from equimodal.metrics.classification import accuracy, confusion, macro_f1, recall


@pytest.mark.parametrize(("classes", "n"), [(2, 50), (6, 300), (51, 400)])
def test_agree_with_scikit_learn(classes, n):
    generator = torch.Generator().manual_seed(classes)
    labels = torch.randint(classes, (n,), generator=generator)
    guesses = torch.where(
        torch.rand(n, generator=generator) < 0.6, labels, torch.randint(classes, (n,), generator=generator)
    )
    matrix = confusion(guesses, labels, classes)
    assert matrix.tolist() == metrics.confusion_matrix(labels, guesses, labels=range(classes)).tolist()
    assert accuracy(matrix) == pytest.approx(metrics.accuracy_score(labels, guesses))
    assert macro_f1(matrix) == pytest.approx(metrics.f1_score(labels, guesses, average="macro"))
    assert recall(matrix) == pytest.approx(
        metrics.recall_score(labels, guesses, labels=range(classes), average=None, zero_division=0).tolist()
    )


def test_class_that_never_occurs_does_not_lower_f1():
    labels = torch.tensor([0, 0, 1])
    matrix = confusion(labels, labels, 3)
    assert macro_f1(matrix) == 1.0
    assert recall(matrix) == [1.0, 1.0, 0.0]


def test_rows_are_true_classes():
    assert confusion(torch.tensor([1, 1]), torch.tensor([0, 1]), 2).tolist() == [[0, 1], [0, 1]]
