"""Whose features the logits are made of, where a linear layer decides on all features side by side."""

import torch
from torch import Tensor, nn

from equimodal.diagnosis.content import Entry
from equimodal.diagnosis.hooks import submodule
from equimodal.diagnosis.measures.base import Setting


def parts(features: Tensor, weight: Tensor, widths: list[int], centred: bool) -> Tensor:
    """Per sample [M, n] what each modality's block adds to the variance of the logits: the inner product of
    W^m (z^m - mean) with the whole W (z - mean).

    Their means are Cov(logits^m, logits) summed over classes, and add up to the variance of the logits.

    Args:
        features: [n, F], the modalities' blocks side by side.
        weight: [K, F].
        centred: take the mean over classes off the logits, which a softmax does not see.
    """
    if centred:
        weight = weight - weight.mean(0)
    apart = features - features.mean(0)
    blocks = zip(apart.split(widths, 1), weight.split(widths, 1), strict=True)
    logits = torch.stack([block @ own.T for block, own in blocks])
    return (logits * logits.sum(0)).sum(2)


def compute(setting: Setting) -> list[Entry]:
    """`share` of the logits' variance of each modality."""
    assert setting.decision is not None
    layer = submodule(setting.runner.model, setting.decision, "decision")
    assert isinstance(layer, nn.Linear)
    weight = layer.weight.detach().double().cpu()
    centred = setting.runner.task.kind == "classification" and len(weight) > 1
    each = parts(setting.runner.watched.decision_inputs, weight, list(setting.widths.values()), centred)
    means = setting.means(list(each))
    total = means.sum(0)
    shares = torch.where(total > 0, means / total, torch.full_like(means, torch.nan))
    return [setting.entry("share", name, share) for name, share in zip(setting.widths, shares, strict=True)]


def refusal(setting: Setting) -> str | None:
    """The layer must be linear, and the widths of the modalities' blocks must add up to its own."""
    assert setting.decision is not None
    layer = submodule(setting.runner.model, setting.decision, "decision")
    if not isinstance(layer, nn.Linear):
        return f"{setting.decision} is a {type(layer).__name__}, no linear layer"
    if sum(setting.widths.values()) != layer.in_features:
        return (
            f"the blocks of {setting.decision} are not known ({layer.in_features} inputs): pass decision= as"
            " (name, {modality: width})"
        )
    return None
