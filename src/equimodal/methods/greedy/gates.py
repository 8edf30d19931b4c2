"""Gates between the branches: multimodal transfer modules (MMTM; Joze and others, CVPR 2020), as Greedy joins its
branches by them.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from equimodal.models.encoder import Encoder, aligned_depths
from equimodal.models.framework import Exchange
from equimodal.models.initialisation import initialise

Place = tuple[int, str]  # depth, modality


class MMTM(nn.Module):
    """g^m = sigmoid(E^m relu(S [s^1; ...; s^M])): a gate for each channel of a modality's maps, made of all
    modalities' pooled maps s.

    Args:
        widths: channels C^m of each modality's maps.
        ratio: the hidden layer has 2 (sum of C^m) / ratio units.
    """

    def __init__(self, widths: dict[str, int], ratio: float) -> None:
        super().__init__()
        total = sum(widths.values())
        hidden = max(1, int(2 * total / ratio))
        self.squeeze = nn.Linear(total, hidden)
        self.excite = nn.ModuleDict({name: nn.Linear(hidden, width) for name, width in widths.items()})

    def forward(self, pooled: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gates {m: [B, C^m]} of pooled maps {m: [B, C^m]}."""
        hidden = torch.relu(self.squeeze(torch.cat([pooled[name] for name in self.excite], 1)))
        return {name: torch.sigmoid(excite(hidden)) for name, excite in self.excite.items()}


class Gates(Exchange):
    """An MMTM after each of the last depths; every modality's maps are multiplied by its gates, channel by channel.

    Args:
        encoders: {m: Encoder}.
        count: units, at most the depths that the encoders have in common.
        ratio: of the units.

    Attributes:
        widths: C of every gate, by depth and modality.
        held: None, or [M] bool: whose gates are `constant` ones in a training pass; on the device.
        constant: gates [C] that do not depend on the batch, by depth and modality.
        latest: gates [B, C] that the units made in the latest training pass, held or not; without gradient.
    """

    def __init__(self, encoders: dict[str, Encoder], count: int, ratio: float) -> None:
        super().__init__()
        places = aligned_depths({name: len(encoder.blocks) for name, encoder in encoders.items()})
        depths = min(map(len, places.values()))
        self._axes = {name: encoder.affine_axis for name, encoder in encoders.items()}
        self.widths: dict[Place, int] = {}
        self.units = nn.ModuleDict()
        for depth in range(max(0, depths - count), depths):
            widths = {name: encoder.dims[places[name][depth]] for name, encoder in encoders.items()}
            self.widths |= {(depth, name): width for name, width in widths.items()}
            self.units[str(depth)] = MMTM(widths, ratio)
        initialise(self)
        self.held: Tensor | None = None
        self.constant: dict[Place, Tensor] = {}
        self.latest: dict[Place, Tensor] = {}

    def forward(self, depth: int, maps: dict[str, Any], pooled: dict[str, Tensor]) -> dict[str, Any]:
        if str(depth) not in self.units:
            return {}
        gates: dict[str, Tensor] = self.units[str(depth)](pooled)
        if self.training:
            self.latest |= {(depth, name): gate.detach() for name, gate in gates.items()}
            if self.held is not None:
                gates = {
                    name: torch.where(held, self.constant[depth, name].to(gate.dtype), gate)
                    for held, (name, gate) in zip(self.held, gates.items(), strict=True)
                }
        return {name: gated(maps[name], gate, self._axes[name]) for name, gate in gates.items()}

    def squeezes(self) -> list[nn.Parameter]:
        """Parameters of the layers that all modalities share."""
        return [p for unit in self._units for p in unit.squeeze.parameters()]

    def excites(self, name: str) -> list[nn.Parameter]:
        """Parameters of the layers that make one modality's gates."""
        return [p for unit in self._units for p in unit.excite[name].parameters()]

    @property
    def _units(self) -> list[MMTM]:
        return cast(list[MMTM], list(self.units.values()))


def gated(maps: Any, gate: Tensor, axis: int) -> Any:
    """Maps (a tensor, or a pytree whose masks stay) times gates [B, C] along `axis`; a sample's frames, folded into the
    first axis, have one gate.
    """

    def scaled(x: Tensor) -> Tensor:
        if not x.is_floating_point():
            return x
        rows = gate.repeat_interleave(len(x) // len(gate), 0).to(x.dtype)
        shape = [1] * x.dim()
        shape[0], shape[axis] = rows.shape
        return x * rows.view(shape)

    return pytree.tree_map_only(torch.Tensor, scaled, maps)
