"""Prototypes that ride: in a batch behind its samples, or apart from it, normalised as the samples are (aim.md
sections 5 and 12).
"""

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from equimodal.methods.aim.blocks import Blocks, Place
from equimodal.methods.aim.dap import Prototypes
from equimodal.methods.aim.modulation import Logs
from equimodal.methods.aim.settings import AIMSettings
from equimodal.models.encoder import detach, join
from equimodal.models.framework import Outputs
from equimodal.models.frozen import normalised_alike, running_statistics, statistics_of_first
from equimodal.models.padded import Input
from equimodal.seeding import generator


def shuffled(count: int, seed: int, purpose: str, step: int, device: torch.device) -> Tensor:
    """0 to count - 1 in an order drawn from (seed, purpose, step) alone, so that a resumed run draws the same; made on
    the device, so that a step copies nothing to it.
    """
    return torch.randperm(count, generator=generator(seed, "aim", purpose, step, device=device), device=device)


class Riding:
    """A framework's passes with the prototypes of `update: joint`."""

    def __init__(self, blocks: Blocks, dap: Prototypes, settings: AIMSettings, seed: int) -> None:
        self.blocks = blocks
        self.dap = dap
        self.settings = settings
        self.seed = seed

    def riders(self, step: int) -> tuple[Tensor, Tensor]:
        """Classes whose prototypes ride in a step, and the others."""
        classes = self.dap.classes
        order = shuffled(classes, self.seed, "ride", step, next(iter(self.dap.inputs.values())).device)
        count = math.ceil(self.settings.ride_fraction * classes)
        return order[:count], order[count:]

    def ride(self, inputs: dict[str, Input], some: Tensor | None = None) -> dict[str, Input]:
        """Inputs with the K prototypes, or those of some classes, behind the samples: [B + K, ...]."""
        prototypes = self.dap.samples(some)
        return {name: join(inputs[name], prototypes[name]) for name in self.blocks.modalities}

    def statistics(self, samples: int, rows: int) -> AbstractContextManager[None]:
        """How a batch in which prototypes ride is normalised."""
        if self.settings.statistics == "all":
            return nullcontext()
        return statistics_of_first(self.blocks.model, samples, rows)

    def through(
        self, inputs: dict[str, Input], batch: int, step: int
    ) -> tuple[Outputs, dict[Place, Tensor], Logs, Tensor]:
        """The framework's pass of `batch` samples and those that ride, P_d^m [K, C_d] of every block, and Eq. 5 with
        what to log of it.
        """
        if self.settings.ride_fraction == 1:
            return self._together(inputs, batch, None)
        model = self.blocks.model
        some, others = self.riders(step)
        before = running_statistics(model)
        outputs, prototyped, logs, loss = self._together(inputs, batch, some)
        apart = normalised_alike(model, before, detach(self.dap.samples(others)))
        order = torch.cat([some, others]).argsort()
        for place, own in prototyped.items():
            prototyped[place] = torch.cat([own, self.blocks.features(apart, place).to(own.dtype)])[order]
        return outputs, prototyped, logs, loss

    def _together(
        self, inputs: dict[str, Input], batch: int, some: Tensor | None
    ) -> tuple[Outputs, dict[Place, Tensor], Logs, Tensor]:
        """As `through`, of the prototypes that ride alone: all, or those of some classes."""
        model = self.blocks.model
        with self.statistics(batch, batch + (self.dap.classes if some is None else len(some))):
            outputs = model(self.ride(inputs, some))
        features = {name: z[batch:] for name, z in outputs.features.items()}
        loss, logs = self.dap.objective(model, Outputs(outputs.logits[batch:], features, {}), some)
        return outputs, self.behind(outputs, batch), logs, loss

    def behind(self, outputs: Outputs, batch: int) -> dict[Place, Tensor]:
        """P_d^m of a pass in which they rode."""
        return {place: self.blocks.features(outputs, place)[batch:] for place in self.blocks.places}
