"""Greedy: Wu, Jastrzebski, Cho, Geras, "Characterizing and Overcoming the Greedy Nature of Learning in Multi-modal Deep
Neural Networks", ICML 2022, arXiv 2202.05306 (methods.md section 8).
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from equimodal.errors import UserError
from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.methods.distributed import average
from equimodal.methods.greedy.gates import Gates
from equimodal.methods.greedy.settings import GreedySettings
from equimodal.models.encoder import Encoder
from equimodal.models.framework import MultimodalModel, pooled_features
from equimodal.models.fusion import WeightedReadouts
from equimodal.models.initialisation import initialise
from equimodal.seeding import generator


class BranchHeads(WeightedReadouts):
    """A Linear(d_m, K) of each branch; predictions are the mean of their logits."""

    def __init__(self, dims: dict[str, int], classes: int) -> None:
        super().__init__(dims, classes, None)
        self.linears = nn.ModuleDict({name: nn.Linear(width, classes) for name, width in dims.items()})
        initialise(self)

    def readout(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.linears[name](features[name]) for name in self.dims}


class Greedy(Method[GreedySettings]):
    """L = sum_m L(u^m) of branches that are joined by gates. Where the gates of a modality learn faster, beside its own
    branch, than another's do, its gates are held at their means for some steps: the branch has to improve by itself.

    Attributes:
        speeds: cumulative learning speeds [2, M], of the gates and of the own branch; a buffer, float64.
        means: mean gates so far of all places of `Gates.widths`, one after the other; a buffer.
        count: steps in them []; a buffer.
        caring, left: the modality whose gates are held [], and for how many steps more []; buffers.
    """

    paper = "ICML 2022"
    speeds: Tensor
    means: Tensor
    count: Tensor
    caring: Tensor
    left: Tensor

    def __init__(self, model: MultimodalModel, settings: GreedySettings, task: Task) -> None:
        super().__init__(model, settings, task)
        modalities = len(model.modalities)
        self._balances = False
        self._held, self._steps = torch.zeros(modalities), 0
        self._draw = torch.Generator()
        self._own = [
            [*model.encoders[name].parameters(), *self.heads.linears[name].parameters()] for name in model.modalities
        ]
        self._excites = [self.gates.excites(name) for name in model.modalities]
        self.register_buffer("speeds", torch.zeros(2, modalities, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(sum(self.gates.widths.values())))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("caring", torch.zeros((), dtype=torch.int64))
        self.register_buffer("left", torch.zeros((), dtype=torch.int64))

    @property
    def gates(self) -> Gates:
        """What joins the branches."""
        return cast(Gates, self.model.exchange)

    @property
    def heads(self) -> BranchHeads:
        """What the model has in place of a fused head."""
        return cast(BranchHeads, self.model.fusion)

    @classmethod
    def adapt(cls, model: MultimodalModel, settings: GreedySettings, structure: dict[str, Any]) -> MultimodalModel:
        model.fusion = BranchHeads(model.fusion.dims, model.fusion.classes)
        model.exchange = Gates(cast(dict[str, Encoder], model.encoders), settings.units, settings.ratio)
        if settings.variant == "released":
            for (depth, name), width in model.exchange.widths.items():
                if width != (first := model.exchange.widths[depth, model.modalities[0]]):
                    raise UserError(
                        f"greedy: variant released takes the first modality's mean gates for all, and '{name}' has"
                        f" {width} channels where '{model.modalities[0]}' has {first}: use variant paper"
                    )
        return model

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        self._balances = self.settings.balancing != "none" and epoch >= self.settings.first_epoch
        self._held, self._steps = torch.zeros(len(self._own), device=trainer.device), 0
        # Its own generator, by epoch: no other draw moves, and a resumed run draws the same.
        self._draw = generator(self.task.seed, "greedy", epoch, device=trainer.device)

    def forward(self, batch: Batch) -> Step:
        held = (torch.arange(len(self._own), device=self.left.device) == self.caring) & (self.left > 0)
        self._held += held
        self._steps += 1
        self.gates.held = held
        widths = self.gates.widths
        self.gates.constant = dict(zip(widths, self.means.split(list(widths.values())), strict=True))
        each = self.model.readout(pooled_features(self.model.encode(batch.inputs)))
        losses = {name: self.task.objective.loss(u, batch.labels) for name, u in each.items()}
        logs = {f"{name}/loss": loss.detach() for name, loss in losses.items()}
        return Step(torch.stack(list(losses.values())).sum(), self.heads.weighted(each), logs)

    @torch.no_grad()
    def after_backward(self, trainer: Trainer) -> None:
        """Take up the step's speeds and gates, and decide which gates the next step holds, all on the device."""
        free = self.left == 0
        speed = learning_speeds(self._own, self._excites, self.gates.squeezes())
        # A step that overflowed (16-mixed) is not taken by the optimizer, either.
        self.speeds += torch.where(free & speed.isfinite().all(), speed, 0.0)
        self._take_up_gates(free)
        if not self._balances:
            return
        if self.settings.balancing == "random":
            drawn = torch.randint(len(self._own) + 1, (), generator=self._draw, device=self.left.device)
            self.caring.copy_(drawn)
            self.left.copy_(drawn < len(self._own))
            return
        ratio = speed_ratios(self.speeds)
        uneven = ratio.max() - ratio.min() > self.settings.epsilon
        # While gates are held no speed is taken up: the largest stays the largest.
        self.caring.copy_(torch.where(uneven, ratio.argmax(), self.caring))
        self.left.copy_(torch.where(free, uneven * self.settings.held_steps, self.left - 1))

    def _take_up_gates(self, free: Tensor) -> None:
        """Running mean over steps and samples; re-balancing steps do not count, in the released code they do."""
        released = self.settings.variant == "released"
        latest = self.gates.latest
        first = self.model.modalities[0]
        gates = [latest[depth, first if released else name] for depth, name in self.gates.widths]
        (current,) = average(torch.cat([gate.float().mean(0) for gate in gates]))
        counts = torch.ones_like(free) if released else free
        self.count += counts
        self.means += counts * (current - self.means) / self.count.clamp_min(1)

    def end_epoch(self, epoch: int, trainer: Trainer) -> dict[str, float]:
        found = torch.stack([speed_ratios(self.speeds), self._held.double() / max(1, self._steps)])
        logs: dict[str, float] = {}
        for name, ratio, share in zip(self.model.modalities, *found.tolist(), strict=True):
            logs |= {f"{name}/speed": ratio, f"{name}/held": share}
        return logs


def learning_speeds(
    own: list[list[nn.Parameter]], excites: list[list[nn.Parameter]], shared: list[nn.Parameter]
) -> Tensor:
    """||gradient||^2 / ||weights||^2 [2, M], float64, of each modality's gates (its own layers and the shared ones) and
    of its own branch. Parameters without a gradient count with 0.
    """

    def squares(parts: list[list[Tensor]]) -> Tensor:
        return torch.stack([nn.utils.get_total_norm(part).double() ** 2 for part in parts])

    groups = [*own, *excites, shared]
    weights = squares([[p.detach() for p in group] for group in groups])
    gradients = squares([[p.grad for p in group if p.grad is not None] for group in groups])
    count = len(own)
    gates = (gradients[count:-1] + gradients[-1]) / (weights[count:-1] + weights[-1])
    return torch.stack([gates, gradients[:count] / weights[:count]])


def speed_ratios(speeds: Tensor) -> Tensor:
    """Conditional learning speeds [M] = log10(B^m / A^m) of cumulative speeds [2, M], of the gates (B) and of the own
    branches (A).
    """
    return (speeds[0] / speeds[1]).log10()
