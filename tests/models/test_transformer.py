"""The transformer encoder: against torch's own layers, and blind to padding."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from equimodal.errors import UserError
from equimodal.methods.aim.decoupling import DepthDecoupling, decoupled_weights
from equimodal.methods.aim.settings import PDMSettings
from equimodal.models.framework import MultimodalModel, build_model
from equimodal.models.frozen import call_untouched
from equimodal.models.padded import Padded, lengths_mask
from equimodal.models.transformer import Transformer, sinusoids
from equimodal.settings.training import ModelSettings

LENGTHS = torch.tensor([5, 3, 1, 0])


def encoder(**changes: float) -> Transformer:
    torch.manual_seed(0)
    return Transformer(6, **{"width": 8, "heads": 2, "ffn": 3, **changes}).double().eval()  # type: ignore[arg-type]


def inputs(longest: int = 5) -> Padded:
    torch.manual_seed(1)
    values = torch.zeros(4, longest, 6, dtype=torch.float64)
    values[:, :5] = torch.randn(4, 5, 6, dtype=torch.float64)
    return Padded(values, lengths_mask(LENGTHS, longest)).zeroed()


def test_positions_are_those_of_the_paper() -> None:
    found = sinusoids(50, 7, torch.zeros(1, dtype=torch.float64))
    for p in (0, 1, 49):
        for channel in range(7):
            angle = p / 10000 ** (2 * (channel // 2) / 7)
            assert float(found[p, channel]) == pytest.approx(
                math.cos(angle) if channel % 2 else math.sin(angle), abs=1e-5
            )
    assert sinusoids(3, 40, torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_it_computes_what_torchs_layers_do() -> None:
    """The same weights in nn.TransformerEncoderLayer with its padding mask, block by block."""
    own = encoder()
    x = inputs()
    maps = own.prepare(x)
    kept = x.mask.any(1)  # torch's layer gives NaN where there is nothing to attend to
    for index, block in enumerate(own.layers):
        reference = nn.TransformerEncoderLayer(8, 2, 24, dropout=0.0, batch_first=True).double()
        weights = {
            name: value for name, value in block.state_dict().items() if name.startswith(("norm1", "norm2", "linear"))
        }
        for kind in ("weight", "bias"):
            weights[f"self_attn.in_proj_{kind}"] = block.state_dict()[f"attention.qkv.{kind}"]
            weights[f"self_attn.out_proj.{kind}"] = block.state_dict()[f"attention.out.{kind}"]
        reference.load_state_dict(weights)
        y = maps.values
        if index == 0:
            y = block.project(y) + sinusoids(5, 8, y)
        y = reference(y, src_key_padding_mask=~x.mask | ~kept[:, None])
        maps = block(maps)
        torch.testing.assert_close(maps.values[x.mask], y[x.mask], rtol=0, atol=1e-12)
        assert maps.values[~x.mask].abs().max() == 0


def test_stages_chain_and_pool_over_real_steps() -> None:
    torch.manual_seed(0)
    model = build_model({"text": (5, 6), "face": (9, 4)}, 3, ModelSettings()).double().eval()
    assert model.encoders["text"].dims == (40, 40, 40)
    face = Padded(torch.randn(4, 9, 4, dtype=torch.float64), lengths_mask(torch.tensor([9, 0, 4, 1]), 9))
    out = model({"text": inputs(), "face": face})
    for name, x in (("text", inputs()), ("face", face)):
        line = out.stages[name]
        assert len(line) == 3 and all(before.output is after.input for before, after in pairwise(line))
        assert all(torch.equal(stage.pooled, stage.output.mean()) for stage in line)
        assert torch.equal(line[-1].output.mask, x.mask) and torch.equal(model.encoders[name](x), out.features[name])
    assert (
        bool((out.features["face"][1] == 0).all())
        and bool((out.features["text"][3] == 0).all())
        and bool(out.logits.isfinite().all())
    )


@pytest.mark.parametrize("content", [7.0, torch.nan])
def test_padding_changes_nothing(content: float) -> None:
    own, x = encoder(), inputs()
    more = inputs(9)
    more.values[~more.mask] = content
    maps, wide = own.prepare(x), own.prepare(more)
    for block in own.blocks:
        maps, wide = block(maps), block(wide)
        torch.testing.assert_close(wide.values[:, :5], maps.values, rtol=0, atol=1e-13)
        torch.testing.assert_close(own.pool(wide, 4), own.pool(maps, 4), rtol=0, atol=1e-13)
        assert wide.values[:, 5:].abs().max() == 0


def test_gradients_reach_every_weight_and_no_padding() -> None:
    own, x = encoder(), inputs()
    x.values.requires_grad_()
    own(x).square().sum().backward()
    assert all(
        p.grad is not None and bool(p.grad.isfinite().all()) and p.grad.abs().sum() > 0 for p in own.parameters()
    )
    assert x.values.grad is not None and (x.values.grad.abs().sum(2) > 0).tolist() == x.mask.tolist()


@pytest.mark.parametrize("reading", ["rows", "exact"])
def test_every_weight_can_be_decoupled_and_replaced(reading: str) -> None:
    """AIM's auxiliary blocks: an exact autoencoder with w = 1 is the block itself; fan-ins are rows of each matrix."""
    own, x = encoder(), inputs()
    maps = own.prepare(x)
    fan_in = {"project": 6, "attention.qkv": 8, "attention.out": 8, "linear1": 8, "linear2": 24}
    for index, block in enumerate(own.blocks):
        weights = decoupled_weights(block)
        assert set(weights) == {f"{name}.weight" for name in fan_in if index == 0 or name != "project"}
        part = DepthDecoupling({"m": block}, PDMSettings(reading=reading, latent=200))
        part.reset({"m": block}, 2.0, torch.Generator().manual_seed(0))
        if reading == "rows":
            assert [part.rows(weight).shape[1] for weight in weights.values()] == [
                fan_in[name.removesuffix(".weight")] for name in weights
            ]
            assert all(part.rows(weight).shape[0] == weight.shape[0] for weight in weights.values())
        with torch.no_grad():
            for one in part.parts:
                one.mask.zero_()
                one.mask_bias.fill_(1e4)
        theta = part.weak({"m": block}).theta["m"]
        assert all(theta[name].shape == weight.shape for name, weight in weights.items())
        out = block(maps)
        torch.testing.assert_close(call_untouched(block, theta, maps).values, out.values, rtol=0, atol=1e-10)
        maps = out


def test_dropout_is_off_in_evaluation_and_drawn_from_the_global_generator_in_training() -> None:
    own, x = encoder(dropout=0.5), inputs()
    assert torch.equal(own(x), own(x))
    own.train()
    torch.manual_seed(3)
    first = own(x)
    assert not torch.equal(own(x), first)
    torch.manual_seed(3)
    assert torch.equal(own(x), first)


def test_an_initialisation_that_training_can_start_from() -> None:
    for init in ("ogm", "torchvision"):
        torch.manual_seed(0)
        model: MultimodalModel = build_model({"text": (5, 6)}, 3, ModelSettings(init=init))  # type: ignore[arg-type]
        spread = model({"text": Padded(inputs().values.float(), inputs().mask)}).features["text"][0].detach().std()
        assert 0.1 < float(spread) < 2
    assert float(model.encoders["text"].layers[0].norm1.weight.detach().mean()) == 1


def test_a_plain_tensor_is_refused_in_one_line() -> None:
    with pytest.raises(
        UserError, match=r"takes sequences with their mask \(equimodal.Padded\), not a tensor \[2, 5, 6\]"
    ):
        encoder()(torch.zeros(2, 5, 6, dtype=torch.float64))
