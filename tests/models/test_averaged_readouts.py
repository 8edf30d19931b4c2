"""Regression's readouts: their mean is the fused prediction, for the heads that add up the modalities' parts."""

import pytest
import torch

from equimodal.models.fusion import FUSIONS

DIMS = {"audio": 4, "visual": 6, "text": 3}


@pytest.mark.parametrize("name", ["concat", "sum"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_mean_of_the_readouts_is_the_fused_prediction(name: str, count: int) -> None:
    torch.manual_seed(0)
    dims = dict(list(DIMS.items())[:count])
    head = FUSIONS[name](dims, 1)
    features = {m: torch.randn(5, width) for m, width in dims.items()}
    parts = head.readout(features)
    head.averaged = True
    readouts = head.readout(features)
    torch.testing.assert_close(torch.stack(list(readouts.values())).mean(0), head(features))
    assert all(torch.equal(readouts[m], count * parts[m]) for m in dims)
