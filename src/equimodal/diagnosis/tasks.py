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
        kind: None to read it from the labels: whole numbers [n] are classes, zeros and ones [n, K] are multi-label,
            other numbers are a regression.
        logits: [n, ...] of all samples, to check shapes by.
        labels: [n, ...].

    Raises:
        UserError: labels and outputs that do not fit each other or the task.
    """

    def __init__(self, kind: Kind | None, logits: Tensor, labels: Tensor) -> None:
        if kind is not None and kind not in get_args(Kind):
            raise UserError(f"diagnose: task={kind!r} is none of {', '.join(get_args(Kind))}")
        self.kind: Kind = kind or _kind(logits, labels)
        self.score = SCORES[self.kind]
        self._check(logits, labels)
        wide = labels.double().view(len(labels), -1)
        self._variance = wide.var(0, unbiased=False) if self.kind == "regression" else wide.new_empty(0)
        if self.kind == "regression" and bool((self._variance == 0).any()):
            raise UserError("diagnose: all samples of the loader have the same label: there is nothing to explain")
        if not bool(torch.isfinite(logits).all()):
            raise UserError("diagnose: the model's outputs are not all finite: nothing can be measured on them")

    def logits(self, output: Tensor) -> Tensor:
        """An output [n, ...] as logits [n, K], float64; one logit of a classification as two, the first of them 0."""
        wide = output.double().view(len(output), -1)
        if self.kind == "classification" and wide.shape[1] == 1:
            return torch.cat([torch.zeros_like(wide), wide], 1)
        return wide

    def scores(self, output: Tensor, labels: Tensor) -> Tensor:
        """Score [n], float64, of each sample."""
        logits = self.logits(output)
        if self.kind == "classification":
            return (logits.argmax(1) == labels.view(-1)).double()
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
            plain = labels.numel() == len(labels) and not labels.is_floating_point()
            if logits.dim() > 2 or not plain:
                raise UserError(
                    f"diagnose: classification needs logits [n, K] and whole labels [n], not {list(logits.shape)} and"
                    f" {list(labels.shape)} {labels.dtype}: pass task=, output= or adapter="
                )
            if int(labels.min()) < 0 or int(labels.max()) >= max(width, 2):
                raise UserError(f"diagnose: labels from {int(labels.min())} to {int(labels.max())} for {width} logits")
        elif labels.numel() != logits.numel():
            raise UserError(
                f"diagnose: {self.kind} needs as many labels as outputs, not {list(labels.shape)} and"
                f" {list(logits.shape)}: pass task=, output= or adapter="
            )
        elif self.kind == "multilabel" and not bool(((labels == 0) | (labels == 1)).all()):
            raise UserError("diagnose: multilabel needs labels of zeros and ones: pass task= or adapter=")


def _kind(logits: Tensor, labels: Tensor) -> Kind:
    if labels.dim() == 2 and labels.shape[1] > 1 and bool(((labels == 0) | (labels == 1)).all()):
        return "multilabel"
    return "regression" if labels.is_floating_point() else "classification"
