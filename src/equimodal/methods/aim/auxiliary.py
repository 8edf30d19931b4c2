"""Auxiliary blocks E~ and their parameter decoupling: passes with theta_b and theta_g, and what trains the PDM (aim.md
sections 4 and 12).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from equimodal.methods.aim.blocks import Blocks, Place
from equimodal.methods.aim.decoupling import Decoupling, Good
from equimodal.methods.aim.modulation import Logs, Score
from equimodal.methods.aim.settings import PDMSettings
from equimodal.methods.distributed import average_gradients
from equimodal.models.encoder import detach
from equimodal.models.frozen import call_untouched


@dataclass(frozen=True)
class BlockPass:
    """What an auxiliary or good block is shown: I_d (samples first; prototypes may ride behind), how many rows there
    are, targets of the samples (`modulation.score`), and the prototypes there (None with labels).
    """

    inputs: Any
    rows: int
    targets: Tensor
    prototypes: Tensor | None

    def constant(self) -> "BlockPass":
        """The same without gradient."""
        prototypes = None if self.prototypes is None else self.prototypes.detach()
        return BlockPass(detach(self.inputs), self.rows, self.targets, prototypes)


Passes = dict[Place, BlockPass]
Scorer = Callable[[list[Place], list[Tensor], list[Tensor | None], Tensor], Score]


class Auxiliaries(nn.Module):
    """The PDM of all blocks with its optimizer.

    Every epoch begins with a PDM that restores its weights exactly (`reset`), so nothing of it is in a state.

    Args:
        score: Eq. 9 and 10 of blocks' outputs, given places, features, prototypes and targets.
        seed: of the PDM's start.
    """

    def __init__(self, blocks: Blocks, settings: PDMSettings, score: Scorer, seed: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.settings = settings
        self.score = score
        self.seed = seed
        self.renewed = False  # whether the PDM has been started for this epoch
        self.decoupling = Decoupling([blocks.at(depth) for depth in range(blocks.depths)], settings)
        named = dict(self.decoupling.named_parameters())
        masks = [value for name, value in named.items() if ".mask" in name]
        others = [value for name, value in named.items() if ".mask" not in name]
        groups = [{"params": masks, "lr": settings.mask_lr}]
        if settings.lr > 0:
            groups.append({"params": others, "lr": settings.lr})
        else:
            for parameter in others:
                parameter.requires_grad_(False)
        # Fused: the row-wise PDM of a ResNet18 has 37 M weights per modality;
        # a loop over its tensors costs as much as a block.
        self.optimizer = torch.optim.Adam(groups, fused=True)

    def reset(self) -> None:
        """Start the PDM anew for the blocks' present weights; the same draws every time."""
        generator = torch.Generator().manual_seed(self.seed)
        for depth in range(self.blocks.depths):
            self.decoupling.at(depth).reset(self.blocks.at(depth), self.settings.mask_std, generator)
        self.optimizer.state.clear()

    def start(self, passes: Passes) -> Logs:
        """Begin an epoch's PDM: `reset`, and `pdm.steps` steps of Eq. 8 on one batch's passes."""
        self.reset()
        self.renewed = True
        logs: Logs = {}
        for _ in range(self.settings.steps):
            logs = self.learn({place: seen.constant() for place, seen in passes.items()})
        return logs

    def due(self, step: int) -> bool:
        """Whether Eq. 8 has its turn in a step."""
        return step % self.settings.every == 0

    def decouple(self, step: int, passes: Callable[[], Passes]) -> Logs:
        """Train the PDM on the step's passes where it is due: an epoch's first step starts it; a later one is a step of
        Eq. 8, unless that is part of the step's own loss (`pdm.detach: false`).
        """
        if not self.renewed:
            return self.start(passes())
        return self.learn(passes()) if self.due(step) and self.settings.detach else {}

    def weak(self, passes: Passes) -> tuple[Score, Logs]:
        """Scores [N] of the auxiliary blocks in the passes' order; gradient reaches theta through the PDM, whose own
        weights are constants (Eq. 13). And mean and std of w.
        """
        logs: Logs = {}
        features: dict[Place, Tensor] = {}
        for depth, places in _by_depth(passes).items():
            found = self.decoupling.at(depth).weak(self.blocks.at(depth))
            for place in places:
                modality = place[0]
                name = self.blocks.name(place)
                logs |= {f"{name}/w_mean": found.mean[modality], f"{name}/w_std": found.spread[modality]}
                features[place] = self._through(place, found.theta[modality], passes[place])
        return self._scored(list(passes), features, passes), logs

    def good(self, depth: int, passes: Passes) -> tuple[Score, Good]:
        """Scores [N] of the blocks of one depth with theta_g, and L_re: the two terms of Eq. 8."""
        found = self.decoupling.at(depth).good(self.blocks.at(depth), self.settings.detach)
        features = {place: self._through(place, found.theta[place[0]], seen) for place, seen in passes.items()}
        return self._scored(list(passes), features, passes), found

    def losses(self, passes: Passes) -> Iterator[tuple[Tensor, list[nn.Parameter], Logs]]:
        """Eq. 8 depth by depth, one graph at a time: L_g + L_re of its blocks, the parameters it trains, and logs."""
        for depth, places in _by_depth(passes).items():
            yield self._loss(depth, {place: passes[place] for place in places})

    def learn(self, passes: Passes) -> Logs:
        """One step of Eq. 8 on constant passes."""
        logs: Logs = {}
        with torch.enable_grad():
            for loss, parameters, more in self.losses(passes):
                loss.backward(inputs=parameters)
                logs |= more
        self.step()
        return logs

    def step(self) -> None:
        """Adam on the gradients there are, averaged over processes."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        average_gradients(parameters)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _loss(self, depth: int, passes: Passes) -> tuple[Tensor, list[nn.Parameter], Logs]:
        score, found = self.good(depth, passes)
        logs: Logs = {}
        for i, place in enumerate(passes):
            modality, name = place[0], self.blocks.name(place)
            logs |= {
                f"{name}/L_g": score.loss[i].detach(),
                f"{name}/L_re": found.relative[modality].detach(),
                f"{name}/s_good": score.s[i],
            }
        errors = found.relative if self.settings.relative else found.error
        loss = score.loss.sum() + torch.stack([errors[modality] for modality, _ in passes]).sum()
        return loss, [p for p in self.decoupling.at(depth).parameters() if p.requires_grad], logs

    def _through(self, place: Place, theta: dict[str, Tensor], seen: BlockPass) -> Tensor:
        output = call_untouched(self.blocks.block(*place), theta, seen.inputs)
        return self.blocks.features_of(place[0], output, seen.rows)[: len(seen.targets)]

    def _scored(self, places: list[Place], features: dict[Place, Tensor], passes: Passes) -> Score:
        prototypes = [passes[place].prototypes for place in places]
        return self.score(places, [features[place] for place in places], prototypes, passes[places[0]].targets)


def _by_depth(passes: Passes) -> dict[int, list[Place]]:
    found: dict[int, list[Place]] = {}
    for place in passes:
        found.setdefault(place[1], []).append(place)
    return found
