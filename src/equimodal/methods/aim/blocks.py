"""A framework as AIM sees it: its blocks by modality and depth."""

from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from equimodal.errors import UserError
from equimodal.models.encoder import Encoder, aligned_depths
from equimodal.models.framework import MultimodalModel, Outputs, Stage

Place = tuple[str, int]  # modality, depth from 0


class Blocks:
    """E_d^m of a framework; encoders of unequal depth are aligned by relative depth to the shortest.

    Args:
        pool: distances on pooled outputs ("mean") or on whole maps ("none").
        last: take the last so many blocks of every encoder, instead of aligning all of them.

    Attributes:
        places: all (m, d), depth by depth.
    """

    def __init__(self, model: MultimodalModel, pool: str = "mean", last: int | None = None) -> None:
        self.model = model
        self.pool = pool
        self.modalities = model.modalities
        counts = {name: len(self.encoder(name).blocks) for name in self.modalities}
        self.depths = min(counts.values()) if last is None else last
        self.levels = aligned_depths(counts)
        if last is not None:
            self.levels = {name: list(range(count - last, count)) for name, count in counts.items()}
        # Depths of logs count to the shallowest encoder's last block.
        self.first = min(counts.values()) - self.depths
        self.places: list[Place] = [(name, depth) for depth in range(self.depths) for name in self.modalities]

    def encoder(self, modality: str) -> Encoder:
        """An encoder of the framework."""
        encoder = self.model.encoders[modality]
        assert isinstance(encoder, Encoder)
        return encoder

    def block(self, modality: str, depth: int) -> nn.Module:
        """E_d^m."""
        return self.encoder(modality).blocks[self.levels[modality][depth]]

    def name(self, place: Place) -> str:
        """Of a block in logs."""
        return f"depth{self.first + place[1] + 1}/{place[0]}"

    def at(self, depth: int) -> dict[str, nn.Module]:
        """The blocks of one depth {m: E_d^m}."""
        return {name: self.block(name, depth) for name in self.modalities}

    def widths(self, modality: str) -> list[int]:
        """Width C_d of a modality's pooled outputs at every depth."""
        return [self.encoder(modality).dims[place] for place in self.levels[modality]]

    def stage(self, outputs: Outputs, place: Place) -> Stage:
        """The pass of a block."""
        modality, depth = place
        return outputs.stages[modality][self.levels[modality][depth]]

    def features(self, outputs: Outputs, place: Place) -> Tensor:
        """What distances are taken on, of a block's pass: [rows, C_d], or whole maps [rows, -1]."""
        stage = self.stage(outputs, place)
        return stage.pooled if self.pool == "mean" else self.features_of(place[0], stage.output, len(outputs.logits))

    def features_of(self, modality: str, output: Any, rows: int) -> Tensor:
        """As `features`, of a block's output."""
        if self.pool == "mean":
            return self.encoder(modality).pool(output, rows)
        leaves = pytree.tree_leaves(output)
        if len(leaves) != 1:
            raise UserError(
                f"aim: pool: none needs blocks that give one tensor; {modality} gives {len(leaves)} (a"
                " sequence and its mask): set pool: mean"
            )
        whole: Tensor = leaves[0].reshape(rows, -1)
        return whole
