"""The multimodal framework: what a forward pass gives, and that building it is deterministic."""

import copy
from itertools import pairwise

import pytest
import torch

from equimodal.models.encoder import detach, select
from equimodal.models.framework import MultimodalModel, build_model
from equimodal.settings.training import ModelSettings

SHAPES = {"audio": (1, 16, 20), "visual": (3, 2, 16, 16), "motion": (2, 2, 16, 16)}


def built(
    fusion: str = "concat", init: str = "ogm", names: tuple[str, ...] = ("audio", "visual"), **more: object
) -> MultimodalModel:
    torch.manual_seed(0)
    settings = ModelSettings(
        width=4, layers=(1, 1, 1, 1), fusion=fusion, init=init, stem_stride=1, stem_pool=False, **more
    )  # type: ignore[arg-type]
    return build_model({name: SHAPES[name] for name in names}, 3, settings)


def inputs(model: MultimodalModel, batch: int = 4) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {name: torch.randn(batch, *SHAPES[name]) for name in model.modalities}


@pytest.mark.parametrize("names", [("visual",), ("audio", "visual"), ("audio", "visual", "motion")])
def test_stages_chain_and_end_in_the_features(names: tuple[str, ...]) -> None:
    model = built(names=names).eval()
    x = inputs(model)
    out = model(x)
    assert list(out.features) == list(out.stages) == list(names) == model.modalities and out.logits.shape == (4, 3)
    for name, encoder in model.encoders.items():
        line = out.stages[name]
        assert len(line) == 4 and [stage.pooled.shape[1] for stage in line] == list(encoder.dims) == [4, 8, 16, 32]
        assert torch.equal(line[0].input, encoder.prepare(x[name]))
        assert all(before.output is after.input for before, after in pairwise(line))
        assert torch.equal(line[-1].pooled, out.features[name]) and torch.equal(encoder(x[name]), out.features[name])
    torch.testing.assert_close(sum(model.readout(out.features).values()), out.logits)


def test_gradients_reach_every_parameter() -> None:
    for fusion in ("concat", "sum", "film", "gated"):
        model = built(fusion)
        model(inputs(model)).logits.square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters()), fusion


def test_rows_cuts_a_batch_with_its_folded_frames() -> None:
    model = built().eval()
    x = inputs(model, 5)
    part = model(x).rows(slice(3, 5))
    alone = model({name: value[3:5] for name, value in x.items()})
    torch.testing.assert_close(part.logits, alone.logits)
    for name in model.modalities:
        for ours, theirs in zip(part.stages[name], alone.stages[name], strict=True):
            for a, b in ((ours.input, theirs.input), (ours.output, theirs.output), (ours.pooled, theirs.pooled)):
                torch.testing.assert_close(a, b)


def test_select_and_detach_reach_into_pytrees() -> None:
    maps = {"tokens": torch.arange(12.0).view(6, 2).requires_grad_(), "mask": (torch.arange(3), "static")}
    picked = select(maps, 3, torch.tensor([2, 0]))
    assert (
        picked["tokens"].tolist() == [[8, 9], [10, 11], [0, 1], [2, 3]]
        and picked["mask"][0].tolist() == [2, 0]
        and picked["mask"][1] == "static"
    )
    assert not detach(picked)["tokens"].requires_grad


def test_the_seed_decides_the_weights() -> None:
    first, second = built().state_dict(), built().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(
        first["fusion.linear.weight"], built(init="torchvision").state_dict()["fusion.linear.weight"]
    )
    assert built(init="torchvision").fusion.linear.bias.abs().sum() > 0


def test_a_copy_is_independent_and_equal() -> None:
    model = built()
    copied = copy.deepcopy(model)
    x = inputs(model)
    model.eval(), copied.eval()
    assert torch.equal(model(x).logits, copied(x).logits)
    with torch.no_grad():
        copied.encoders["audio"].conv1.weight.add_(1)
    assert not torch.equal(model(x).features["audio"], copied(x).features["audio"])
    assert torch.equal(model(x).features["visual"], copied(x).features["visual"])
