"""Classification, multi-label, regression: what an output says, and how good it is, sample by sample."""

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from equimodal.errors import UserError

Kind: TypeAlias = Literal["classification", "multilabel", "regression"]
SCORES: dict[Kind, str] = {
    "classification": "accuracy",
    "multilabel": "sample F1",
    "regression": "R2",
}


class Task:
    """How outputs are scored. Every score is a mean over samples, so that intervals are a resampling of samples.

    - classification: 1 where the highest logit is the label's; one logit is that of class 1 of two.
    - multilabel: F1 of the labels whose logit is above 0 against the true ones, per sample; 1 where neither has any.
    - regression: 1 - squared error / variance of the labels, whose mean is R2.

    Args:
        kind: None to read it from the labels: whole numbers of an integer type, and zeros and ones [n] of any, are
            classes, so are rows [n, K] with a single 1 each; other zeros and ones [n, K] are multi-label, other numbers
            a regression.
        logits: [n, ...] of all samples, to check shapes by.
        labels: [n, ...].

    Raises:
        UserError: labels and outputs that do not fit each other or the task.
    """

    def __init__(self, kind: Kind | None, logits: Tensor, labels: Tensor) -> None:
        if kind is not None and kind not in get_args(Kind):
            raise UserError(f"diagnose: task={kind!r} is none of {', '.join(get_args(Kind))}")
        self.kind: Kind = kind or _kind(labels)
        self.score = SCORES[self.kind]
        self._check(logits, labels)
        wide = labels.double().view(len(labels), -1)
        self._variance = wide.var(0, unbiased=False) if self.kind == "regression" else wide.new_empty(0)
        if self.kind == "regression" and bool((self._variance == 0).any()):
            raise UserError("diagnose: all samples of the loader have the same label: there is nothing to explain")
        if not bool(torch.isfinite(logits).all()):
            raise UserError("diagnose: the model's outputs are not all finite: nothing can be measured on them")

    def doubt(self, logits: Tensor) -> str | None:
        """A note where outputs that are compared with 0 look like probabilities."""
        compared = self.kind == "multilabel" or (self.kind == "classification" and logits.numel() == len(logits))
        if not compared or bool(((logits < 0) | (logits > 1)).any()):
            return None
        return "outputs all lie within 0 and 1 and were read as logits: for probabilities pass output=torch.logit"

    def labels(self, given: Tensor) -> Tensor:
        """The loader's labels as they are scored: class ids [n] of a classification, else as they are."""
        if self.kind != "classification":
            return given
        return given.argmax(1) if _one_hot(given) else given.view(len(given)).long()

    def logits(self, output: Tensor) -> Tensor:
        """An output [n, ...] as logits [n, K], float64; one logit of a classification as two, the first of them 0."""
        wide = output.double().view(len(output), -1)
        if self.kind == "classification" and wide.shape[1] == 1:
            return torch.cat([torch.zeros_like(wide), wide], 1)
        return wide

    def scores(self, output: Tensor, labels: Tensor) -> Tensor:
        """Score [n], float64, of each sample; `labels` as the method of that name gives them."""
        logits = self.logits(output)
        if self.kind == "classification":
            return (logits.argmax(1) == labels).double()
        truth = labels.double().view(len(labels), -1)
        if self.kind == "regression":
            return 1 - ((logits - truth).square() / self._variance).mean(1)
        found = (logits > 0).double()
        both = (found * truth).sum(1)
        total = found.sum(1) + truth.sum(1)
        return torch.where(total > 0, 2 * both / total.clamp_min(1), torch.ones_like(total))

    def _check(self, logits: Tensor, labels: Tensor) -> None:
        width = logits.view(len(logits), -1).shape[1]
        if self.kind == "classification":
            whole = _one_hot(labels) or (labels.numel() == len(labels) and bool((labels == labels.long()).all()))
            if logits.dim() > 2 or not whole:
                raise UserError(
                    f"diagnose: classification needs logits [n, K] and whole labels [n], not {list(logits.shape)} and"
                    f" {list(labels.shape)} {labels.dtype}: pass task=, output= or adapter="
                )
            ids = self.labels(labels)
            if int(ids.min()) < 0 or int(ids.max()) >= max(width, 2):
                raise UserError(f"diagnose: labels from {int(ids.min())} to {int(ids.max())} for {width} logits")
        elif labels.numel() != logits.numel():
            raise UserError(
                f"diagnose: {self.kind} needs as many labels as outputs, not {list(labels.shape)} and"
                f" {list(logits.shape)}: pass task=, output= or adapter="
            )
        elif self.kind == "multilabel" and not bool(((labels == 0) | (labels == 1)).all()):
            raise UserError("diagnose: multilabel needs labels of zeros and ones: pass task= or adapter=")


def _kind(labels: Tensor) -> Kind:
    binary = bool(((labels == 0) | (labels == 1)).all())
    if _one_hot(labels):
        return "classification"
    if labels.dim() == 2 and labels.shape[1] > 1:
        return "multilabel" if binary else "regression"
    return "regression" if labels.is_floating_point() and not binary else "classification"


def _one_hot(labels: Tensor) -> bool:
    wide = labels.dim() == 2 and labels.shape[1] > 1
    return wide and bool(((labels == 0) | (labels == 1)).all()) and bool((labels.sum(1) == 1).all())
