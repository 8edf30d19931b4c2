"""Multilayer perceptron for one feature vector per sample."""

from typing import Any, Self

from torch import Tensor, nn

from equimodal.models.encoder import Encoder
from equimodal.settings.training import ModelSettings


class MLP(Encoder):
    """D blocks of Linear, ReLU and dropout on vectors [B, W].

    Args:
        features: W of the input.
        layers, width, dropout: `model.mlp`.
    """

    def __init__(self, features: int, layers: int = 2, width: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(features if index == 0 else width, width), nn.ReLU(), nn.Dropout(dropout))
                for index in range(layers)
            ]
        )
        self.dims = (width,) * layers

    @classmethod
    def build(cls, shape: tuple[int, ...], kind: str, settings: ModelSettings, channels_last: bool) -> Self:
        own = settings.mlp
        return cls(shape[0], own.layers, own.width, own.dropout)

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        return tuple(self.layers)

    def pool(self, maps: Any, batch: int) -> Tensor:
        return maps
