"""Fusion heads by their formulas, and the identities of their readouts."""

import pytest
import torch
from torch import Tensor

from equimodal.errors import UserError
from equimodal.models.fusion import FUSIONS, Fusion

DIMS = {"audio": 5, "visual": 7}
THREE = {**DIMS, "motion": 3}
K = 4


def made(name: str, dims: dict[str, int] = DIMS) -> tuple[Fusion, dict[str, Tensor]]:
    torch.manual_seed(0)
    fusion = FUSIONS[name](dims, K).double()
    return fusion, {m: torch.randn(6, width, dtype=torch.float64) for m, width in dims.items()}


@pytest.mark.parametrize("dims", [DIMS, THREE, {"audio": 5}], ids=["two", "three", "one"])
@pytest.mark.parametrize("name", ["concat", "sum"])
def test_split_readouts_sum_to_the_fused_logits(name: str, dims: dict[str, int]) -> None:
    fusion, features = made(name, dims)
    readout = fusion.readout(features)
    assert fusion.readout_name == "split" and list(readout) == list(dims)
    torch.testing.assert_close(sum(readout.values()), fusion(features), rtol=1e-12, atol=1e-12)


def test_concat_splits_its_weight_and_shares_its_bias() -> None:
    fusion, z = made("concat")
    weight, bias = fusion.linear.weight, fusion.linear.bias
    torch.testing.assert_close(fusion(z), torch.cat([z["audio"], z["visual"]], 1) @ weight.T + bias)
    torch.testing.assert_close(fusion.readout(z)["visual"], z["visual"] @ weight[:, 5:].T + bias / 2)


def test_features_are_taken_by_name_not_by_place() -> None:
    for name in FUSIONS:
        fusion, z = made(name)
        swapped = dict(reversed(z.items()))
        assert torch.equal(fusion(z), fusion(swapped))
        assert all(torch.equal(value, fusion.readout(swapped)[m]) for m, value in fusion.readout(z).items())


def test_sum_is_one_linear_a_modality() -> None:
    fusion, z = made("sum")
    expected = {m: z[m] @ fusion.linears[m].weight.T + fusion.linears[m].bias for m in DIMS}
    torch.testing.assert_close(fusion(z), expected["audio"] + expected["visual"])
    torch.testing.assert_close(fusion.readout(z)["audio"], expected["audio"])


def test_film_scales_and_shifts_the_second_by_the_first() -> None:
    fusion, z = made("film")
    gamma, beta = (z["audio"] @ fusion.condition.weight.T + fusion.condition.bias).split(7, 1)
    torch.testing.assert_close(fusion(z), (gamma * z["visual"] + beta) @ fusion.linear.weight.T + fusion.linear.bias)


def test_gated_gates_the_second_by_the_first() -> None:
    fusion, z = made("gated")
    gate = torch.sigmoid(z["audio"] @ fusion.gate.weight.T + fusion.gate.bias)
    value = z["visual"] @ fusion.value.weight.T + fusion.value.bias
    torch.testing.assert_close(fusion(z), (gate * value) @ fusion.linear.weight.T + fusion.linear.bias)


@pytest.mark.parametrize("name", ["film", "gated"])
def test_zero_feature_readout_sees_one_modality(name: str) -> None:
    fusion, z = made(name)
    readout = fusion.readout(z)
    assert fusion.readout_name == "zero-feature"
    for kept, other in (("audio", "visual"), ("visual", "audio")):
        torch.testing.assert_close(readout[kept], fusion({kept: z[kept], other: torch.zeros_like(z[other])}))
        changed = fusion.readout({kept: z[kept], other: z[other] + 1})
        assert torch.equal(readout[kept], changed[kept]) and not torch.equal(readout[other], changed[other])


@pytest.mark.parametrize("name", ["film", "gated"])
@pytest.mark.parametrize("dims", [THREE, {"audio": 5}], ids=["three", "one"])
def test_heads_for_two_refuse_another_number_in_one_line(name: str, dims: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"model.fusion = {name}.*{len(dims)}.*concat or sum") as caught:
        FUSIONS[name](dims, K)
    assert "\n" not in str(caught.value)
