"""What of a training batch is shown to auxiliary blocks and to Eq. 8: which blocks have auxiliaries, and which samples
these see.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from equimodal.methods.aim.auxiliary import BlockPass, Passes
from equimodal.methods.aim.blocks import Blocks, Place
from equimodal.methods.aim.riding import shuffled
from equimodal.methods.aim.settings import AIMSettings
from equimodal.methods.distributed import average
from equimodal.models.encoder import detach, select
from equimodal.models.framework import Outputs

Prototyped = Mapping[Place, Tensor | None]  # P_d^m [K, C_d]; None where labels take their place


class Showing:
    """Cuts a pass of the framework, whose first rows are the samples, into what blocks are shown.

    Args:
        seed: of the random parts of batches (`aux_fraction`).
    """

    def __init__(self, blocks: Blocks, settings: AIMSettings, seed: int) -> None:
        self.blocks = blocks
        self.settings = settings
        self.seed = seed

    def learned(self, outputs: Outputs, prototyped: Prototyped, targets: Tensor, step: int) -> Passes:
        """What Eq. 8 learns from; constants unless `pdm.detach` is off."""
        pdm, places = self.settings.pdm, self.blocks.places
        passes = self.passes(outputs, prototyped, targets, step, self.settings.aux_fraction * pdm.fraction, places)
        return {place: seen.constant() for place, seen in passes.items()} if pdm.detach else passes

    def passes(
        self,
        outputs: Outputs,
        prototyped: Prototyped,
        targets: Tensor,
        step: int,
        fraction: float,
        places: list[Place],
    ) -> Passes:
        """What a random part of the batch shows to the auxiliary blocks of some places; targets as in
        `modulation.score`.

        With `statistics: all` they take the same part of the prototypes that ride, so that they are normalised as the
        originals.
        """
        batch, total, device = len(targets), len(outputs.logits), targets.device
        samples = self.part(fraction, batch, step, device)
        rows = samples
        if total > batch and self.settings.statistics == "all":
            if fraction == 1:
                rows = slice(0, total)
            else:
                behind = self.part(fraction, total - batch, step, device)
                assert isinstance(samples, Tensor) and isinstance(behind, Tensor)
                rows = torch.cat([samples, batch + behind])
        own = targets[samples]
        count = len(range(total)[rows]) if isinstance(rows, slice) else len(rows)
        found: Passes = {}
        for place in places:
            maps = select(self.blocks.stage(outputs, place).input, total, rows)
            prototypes = prototyped[place]
            if self.settings.detach_aux_inputs:
                maps = detach(maps)
            if prototypes is not None and self.settings.detach_aux_prototypes:
                prototypes = prototypes.detach()
            found[place] = BlockPass(maps, count, own, prototypes)
        return found

    def part(self, fraction: float, batch: int, step: int, device: torch.device) -> slice | Tensor:
        """The samples that auxiliary or good blocks see: all, or a random part drawn from (seed, step) alone; smaller
        parts lie in larger ones.
        """
        if fraction == 1:
            return slice(0, batch)
        count = max(2, round(fraction * batch))  # batch normalisation wants two
        return shuffled(batch, self.seed, "part", step, device)[:count].sort().values

    def chosen(self, s: Tensor, step: int) -> list[Place]:
        """Which blocks get auxiliaries in a step, given s [D, M]: none between the steps that `aux_every` names, else
        all, or of every depth the dominant modality's (the abstract's reading).
        """
        if step % self.settings.aux_every:
            return []
        if self.settings.aux_modalities == "all":
            return self.blocks.places
        (shared,) = average(s)  # processes that chose different blocks would wait for each other's gradients
        return [(self.blocks.modalities[best], depth) for depth, best in enumerate(shared.argmax(1).tolist())]
