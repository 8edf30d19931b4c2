"""The multilayer perceptron for vectors."""

import torch

from equimodal.methods.aim.decoupling import decoupled_weights
from equimodal.models.framework import build_model
from equimodal.models.mlp import MLP
from equimodal.settings.training import MLPSettings, ModelSettings


def test_blocks_are_a_linear_map_and_a_relu_each() -> None:
    torch.manual_seed(0)
    encoder = MLP(5, 2, 3)
    x = torch.randn(4, 5)
    first, second = (block[0] for block in encoder.layers)
    expected = torch.relu(second(torch.relu(first(x))))
    torch.testing.assert_close(encoder(x), expected)
    assert encoder.dims == (3, 3) and torch.equal(encoder.pool(x, 4), x)
    assert [list(decoupled_weights(block)) for block in encoder.blocks] == [["0.weight"], ["0.weight"]]


def test_dropout_only_in_training() -> None:
    encoder = MLP(5, 2, 64, dropout=0.5)
    x = torch.randn(4, 5)
    assert not torch.equal(encoder.train()(x), encoder(x)) and torch.equal(encoder.eval()(x), encoder(x))


def test_settings_make_it() -> None:
    model = build_model({"facts": (7,), "more": (3,)}, 4, ModelSettings(mlp=MLPSettings(layers=3, width=9)))
    assert model.encoders["facts"].dims == (9, 9, 9)
    assert model({"facts": torch.randn(2, 7), "more": torch.randn(2, 3)}).logits.shape == (2, 4)
