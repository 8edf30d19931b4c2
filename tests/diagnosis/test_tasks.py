"""Scores against scikit-learn's."""

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, r2_score

from equimodal.diagnosis.tasks import Task
from equimodal.errors import UserError


@pytest.fixture
def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_classes(drawn: torch.Generator) -> None:
    logits, labels = torch.randn(50, 4, generator=drawn), torch.randint(4, (50,), generator=drawn)
    task = Task(None, logits, labels)
    assert task.kind == "classification"
    assert float(task.scores(logits, labels).mean()) == pytest.approx(accuracy_score(labels, logits.argmax(1)))


@pytest.mark.parametrize("shape", [(50,), (50, 1)])
def test_one_logit_is_class_one_of_two(drawn: torch.Generator, shape: tuple[int, ...]) -> None:
    logits, labels = torch.randn(shape, generator=drawn), torch.randint(2, (50,), generator=drawn)
    for given in (labels, labels.float(), labels[:, None].double()):
        task = Task(None, logits, given)
        assert task.kind == "classification"
        scores = task.scores(logits, task.labels(given))
        assert float(scores.mean()) == pytest.approx(accuracy_score(labels, logits.view(-1) > 0))


def test_rows_with_a_single_one_are_classes(drawn: torch.Generator) -> None:
    logits, labels = torch.randn(50, 3, generator=drawn), torch.randint(3, (50,), generator=drawn)
    rows = torch.nn.functional.one_hot(labels, 3).float()
    task = Task(None, logits, rows)
    assert task.kind == "classification"
    assert torch.equal(task.labels(rows), labels)
    assert Task("multilabel", logits, rows).labels(rows) is rows


def test_labels_of_many(drawn: torch.Generator) -> None:
    logits, labels = torch.randn(60, 3, generator=drawn), torch.randint(2, (60, 3), generator=drawn)
    logits[:5], labels[:5] = -1, 0
    task = Task(None, logits, labels)
    assert task.kind == "multilabel"
    expected = f1_score(labels, logits > 0, average="samples", zero_division=1)
    assert float(task.scores(logits, labels).mean()) == pytest.approx(expected)


@pytest.mark.parametrize("width", [None, 1, 3])
def test_numbers(drawn: torch.Generator, width: int | None) -> None:
    shape = (40,) if width is None else (40, width)
    labels = torch.randn(shape, generator=drawn)
    outputs = labels + torch.randn(shape, generator=drawn) / 2
    task = Task(None, outputs, labels)
    assert task.kind == "regression"
    assert float(task.scores(outputs, labels).mean()) == pytest.approx(r2_score(labels, outputs))


@pytest.mark.parametrize(
    ("kind", "logits", "labels", "words"),
    [
        ("ranking", torch.zeros(3, 2), torch.zeros(3).long(), "none of classification, multilabel, regression"),
        (None, torch.zeros(3, 2), torch.tensor([0, 1, 2]), "labels from 0 to 2 for 2 logits"),
        ("classification", torch.zeros(3, 2), torch.full((3,), 0.5), "whole labels"),
        ("regression", torch.zeros(3, 2), torch.rand(3), "as many labels as outputs"),
        ("regression", torch.zeros(3), torch.ones(3), "the same label"),
        ("multilabel", torch.zeros(3, 2), torch.full((3, 2), 0.5), "zeros and ones"),
        (None, torch.full((3, 2), torch.nan), torch.zeros(3).long(), "not all finite"),
    ],
)
def test_what_does_not_fit_is_refused(kind: str | None, logits: torch.Tensor, labels: torch.Tensor, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Task(kind, logits, labels)  # type: ignore[arg-type]


def test_probabilities_are_suspected_where_it_matters(drawn: torch.Generator) -> None:
    many, ids = torch.randint(2, (40, 3), generator=drawn), torch.randint(2, (40,), generator=drawn)
    outputs = torch.rand(40, 3, generator=drawn)
    for logits, labels, suspected in (
        (outputs, many, True),
        (outputs - 0.5, many, False),
        (outputs[:, 0], ids, True),
        (outputs, ids, False),  # the highest is the highest
    ):
        doubt = Task(None, logits, labels).doubt(logits)
        assert (doubt is not None) == suspected
        assert doubt is None or "output=torch.logit" in doubt
