"""Modality dropout: share 0 is joint training, and the formula against one computed by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import tiny_dataset
from equimodal.methods.base import Batch
from equimodal.models.framework import pooled_features
from equimodal.stages.setup import Setup

TRAINER: Any = SimpleNamespace(device="cpu")


def method_with(share: float) -> tuple[Any, Batch]:
    """The method on the tiny dataset, and its first batch."""
    setup = Setup.open(
        tiny_dataset.params(methods={"modality-dropout": {"share": share}}), "tiny", "modality-dropout", 0
    )
    method = setup.method()
    method.begin_epoch(0, TRAINER)
    return method.eval(), Batch(*next(setup.data.evaluation_batches("train", 16)))


def test_share_0_is_joint_training(tiny: Path) -> None:
    method, batch = method_with(0.0)
    assert torch.equal(method(batch).logits, method.model(batch.inputs).logits)


def test_samples_lose_one_modality_or_none(tiny: Path) -> None:
    method, batch = method_with(0.5)
    features = pooled_features(method.model.encode(batch.inputs))
    logits = method(batch).logits
    whole = method.model.fuse(features)
    alone = {m: method.model.fuse({n: z * (n == m) for n, z in features.items()}) for m in features}
    for i, found in enumerate(logits):
        assert any(torch.allclose(found, kind[i], atol=1e-5) for kind in (whole, *alone.values()))
    assert not torch.allclose(logits, whole)
