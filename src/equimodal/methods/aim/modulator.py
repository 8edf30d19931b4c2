"""AIM on any framework with its blocks exposed: prototypes, auxiliary blocks, L_mod. Shared by the workbench's method
and the library.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from equimodal.errors import UserError
from equimodal.methods.aim import modulation
from equimodal.methods.aim.classifiers import BlockClassifiers
from equimodal.methods.aim.dap import Prototypes
from equimodal.methods.aim.decoupling import Decoupling
from equimodal.methods.aim.modulation import BlockPass, Logs, Terms, block_logs
from equimodal.methods.aim.settings import AIMSettings
from equimodal.methods.distributed import average
from equimodal.models.encoder import Encoder, aligned_depths, detach, join, select
from equimodal.models.framework import MultimodalModel, Outputs, Stage
from equimodal.models.frozen import call_untouched, evaluation_mode
from equimodal.models.padded import Input
from equimodal.objectives import Objective


class Modulator(nn.Module):
    """The networks that AIM trains beside a framework, and its losses.

    The framework is used, never held: it is not in the state.

    Args:
        model: the framework; encoders of unequal depth are aligned by relative depth to the shortest.
        objective: of the task; it has K prototypes.
        class_means: {m: [K, ...]}, mean evaluation input of every class (grid value of a regression).
        seed: of the random parts of batches (`aux_fraction`).
    """

    def __init__(
        self,
        model: MultimodalModel,
        settings: AIMSettings,
        objective: Objective,
        class_means: dict[str, Input] | None,
        seed: int,
    ) -> None:
        super().__init__()
        if settings.lambda_mod == 0 and not settings.task_loss and settings.update == "alternate":
            raise UserError(
                "aim: lambda_mod = 0, task_loss: false and update: alternate leave nothing to train: set one"
                " of them otherwise"
            )
        self._model = (model,)  # a tuple: not a submodule
        self.settings = settings
        self.objective = objective
        self.seed = seed
        self.modalities = model.modalities
        counts = {name: len(self.encoder(name).blocks) for name in self.modalities}
        self.depths = min(counts.values())
        self.levels = aligned_depths(counts)
        self.dap: Prototypes | None = None
        self.classifiers: BlockClassifiers | None = None
        if settings.scores == "label":
            if settings.pool == "none":
                raise UserError("aim: scores: label classifies pooled outputs: set pool: mean")
            self.classifiers = BlockClassifiers(
                {name: [self.encoder(name).dims[i] for i in line] for name, line in self.levels.items()},
                objective.classes,
            )
        else:
            if class_means is None:
                raise UserError("aim: scores: prototypes needs the mean input of every class (class_means)")
            self.dap = Prototypes(
                {name: class_means[name] for name in self.modalities},
                {m: self.encoder(m).affine_axis for m in self.modalities},
                settings.dap,
                objective,
            )
        self.pdm = (
            Decoupling({m: [self.block(m, d) for d in range(self.depths)] for m in self.modalities}, settings.pdm)
            if settings.pam
            else None
        )
        self.register_buffer("gap", torch.ones(self.depths))
        if self.constant:
            for (name, depth), prototypes in self.prototypes_in_evaluation().items():
                self.register_buffer(f"target_{name}_{depth}", prototypes)
        self._passes: dict[tuple[str, int], BlockPass] = {}

    @property
    def model(self) -> MultimodalModel:
        """The framework."""
        return self._model[0]

    @property
    def rides(self) -> bool:
        """Whether the prototypes are part of every training batch."""
        return self.dap is not None and self.settings.update == "joint"

    @property
    def constant(self) -> bool:
        """Whether prototypes stay as they are within an epoch."""
        return self.dap is not None and self.settings.update == "alternate"

    def encoder(self, modality: str) -> Encoder:
        """An encoder of the framework."""
        encoder = self.model.encoders[modality]
        assert isinstance(encoder, Encoder)
        return encoder

    def block(self, modality: str, depth: int) -> nn.Module:
        """E_d^m (depth from 0)."""
        return self.encoder(modality).blocks[self.levels[modality][depth]]

    def stage(self, outputs: Outputs, modality: str, depth: int) -> Stage:
        """The pass of E_d^m."""
        return outputs.stages[modality][self.levels[modality][depth]]

    def ride(self, inputs: dict[str, Input]) -> dict[str, Input]:
        """Inputs with the K prototypes behind the samples: [B + K, ...]."""
        assert self.dap is not None
        prototypes = self.dap.samples()
        return {name: join(inputs[name], prototypes[name]) for name in self.modalities}

    def features(self, modality: str, output: Any, pooled: Tensor | None, batch: int) -> Tensor:
        """What distances are taken on: pooled outputs [B, C_d], or whole maps [B, -1] (`pool: none`)."""
        if self.settings.pool == "mean":
            return pooled if pooled is not None else self.encoder(modality).pool(output, batch)
        leaves = pytree.tree_leaves(output)
        if len(leaves) != 1:
            raise UserError(
                f"aim: pool: none needs blocks that give one tensor; {modality} gives {len(leaves)} (a"
                " sequence and its mask): set pool: mean"
            )
        return leaves[0].reshape(batch, -1)

    def score(
        self, modality: str, depth: int, features: Tensor, prototypes: Tensor | None, targets: Tensor
    ) -> modulation.Score:
        """Eq. 9 and 10 of one block's outputs; targets as in `modulation.score`."""
        if self.classifiers is not None:
            return modulation.score(self.classifiers.log_probabilities(modality, depth, features), targets)
        assert prototypes is not None
        tau = self.gap[depth] if self.settings.tau == "auto" else self.settings.tau  # type: ignore[index]
        return modulation.score(
            modulation.log_probabilities(features, prototypes, tau, self.settings.normalize), targets
        )

    def prototypes_of(self, outputs: Outputs, modality: str, depth: int, batch: int) -> Tensor | None:
        """P_d^m [K, C_d]: the rows behind the batch, or the epoch's constant ones."""
        if self.dap is None:
            return None
        if self.constant:
            return self.get_buffer(f"target_{modality}_{depth}")
        stage = self.stage(outputs, modality, depth)
        return self.features(modality, stage.output, stage.pooled, len(outputs.logits))[batch:]

    @torch.no_grad()
    def prototypes_in_evaluation(self) -> dict[tuple[str, int], Tensor]:
        """P_d^m of Eq. 6 with running statistics, as constants."""
        assert self.dap is not None
        with evaluation_mode(self.model):
            outputs = self.model(self.dap.samples())
        stages = {(m, d): self.stage(outputs, m, d) for m in self.modalities for d in range(self.depths)}
        return {
            (m, d): self.features(m, stage.output, stage.pooled, self.dap.classes).clone()
            for (m, d), stage in stages.items()
        }

    def measure_gaps(self) -> None:
        """Set the scales of `tau: auto`: the mean nearest-prototype gap of every depth.

        One scale for all modalities of a depth: a scale of each one's own would make their s alike, and hide the
        imbalance that alpha measures.
        """
        found = self.prototypes_in_evaluation()
        for depth in range(self.depths):
            self.get_buffer("gap")[depth] = torch.stack(
                [modulation.nearest_gap(found[m, depth]) for m in self.modalities]
            ).mean()

    def refresh_targets(self, ema: float) -> None:
        """`update: alternate`: move the constant prototypes of every depth towards the present ones."""
        for (modality, depth), prototypes in self.prototypes_in_evaluation().items():
            self.get_buffer(f"target_{modality}_{depth}").mul_(ema).add_(prototypes, alpha=1 - ema)

    def forward(self, inputs: dict[str, Input], labels: Tensor, step: int, due: bool = False) -> Terms:
        """One training batch through the framework (prototypes riding along), and AIM's terms on it.

        Args:
            inputs: {m: [B, ...]}; labels: [B].
            step: counts batches; it seeds the random part of the batch that auxiliaries see.
            due: keep what `decoupling_losses` needs.
        """
        batch, targets = len(labels), self.objective.memberships(labels)
        outputs: Outputs = self.model(self.ride(inputs) if self.rides else inputs)
        logs: Logs = {}
        losses: list[Tensor] = []
        if self.rides:
            assert self.dap is not None
            objective, logs = self.dap.objective(self.model, outputs.rows(slice(batch, None)))
            losses.append(objective)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.settings.lambda_mod > 0):
            modulated = self.modulate(outputs, targets, step, logs, due)
        if self.settings.lambda_mod > 0:
            losses.append(self.settings.lambda_mod * modulated)
            if self.classifiers is not None:
                losses.append(self.classifier_loss(outputs, targets))
        # Eq. 8 to the letter: it moves theta too, so it belongs to the step's own loss
        if due and not self.settings.pdm.detach:
            for loss, _, more in self.decoupling_losses():
                losses.append(loss)
                logs |= more
        return Terms(
            torch.stack(losses).sum() if losses else None,
            outputs.logits[:batch],
            {m: z[:batch] for m, z in outputs.features.items()},
            logs,
        )

    def modulate(self, outputs: Outputs, targets: Tensor, step: int, logs: Logs, due: bool) -> Tensor:
        """L_mod (Eq. 9 to 15) of a pass whose first rows are the samples; targets as in `modulation.score`;
        adds to `logs`.
        """
        settings, batch = self.settings, len(targets)
        prototypes = {
            (m, d): self.prototypes_of(outputs, m, d, batch) for m in self.modalities for d in range(self.depths)
        }
        original: dict[tuple[str, int], modulation.Score] = {}
        for modality, depth in prototypes:
            stage = self.stage(outputs, modality, depth)
            features = self.features(modality, stage.output, stage.pooled, len(outputs.logits))[:batch]
            original[modality, depth] = self.score(modality, depth, features, prototypes[modality, depth], targets)
        s = torch.stack(
            [torch.stack([original[m, d].s for m in self.modalities]) for d in range(self.depths)]
        )  # [D, M]
        auxiliary: dict[tuple[str, int], modulation.Score] = {}
        if self.pdm is not None and settings.lambda_mod > 0:
            if settings.aux_modalities == "dominant":
                (s,) = average(s)  # processes that chose different blocks would wait for each other's gradients
            rows = self.part(settings.aux_fraction, batch, step, targets.device)
            shown = self.part(settings.aux_fraction * settings.pdm.fraction, batch, step, targets.device)
            weak_blocks = self.auxiliary_blocks(s)
            for block in prototypes if due else weak_blocks:
                inputs = self.stage(outputs, *block).input
                if block in weak_blocks:
                    maps = select(inputs, len(outputs.logits), rows)
                    seen = BlockPass(
                        detach(maps) if settings.detach_aux_inputs else maps, prototypes[block], targets[rows]
                    )
                    with torch.set_grad_enabled(torch.is_grad_enabled() and settings.aux_weight > 0):
                        auxiliary[block] = self.weak_score(*block, seen, logs)
                if due:
                    self._passes[block] = self._kept(
                        select(inputs, len(outputs.logits), shown), prototypes[block], targets[shown]
                    )
        # A step of several processes is one step on all their batches: its blocks have one s, rho and alpha.
        s, *found = average(s, *(block.s for block in auxiliary.values()))
        weakened = dict(zip(auxiliary, found, strict=True))
        total = []
        for depth in range(self.depths):
            helped = [m for m in self.modalities if (m, depth) in auxiliary]
            s_aux = torch.stack([weakened[m, depth] for m in helped]) if helped else None
            rho, rho_aux = modulation.block_weights(s[depth], s_aux)  # Eq. 12
            alpha = modulation.imbalance(s[depth]) if settings.dam else torch.ones_like(s[depth, 0])  # Eq. 14
            originals = settings.original_weight * torch.stack([original[m, depth].loss for m in self.modalities])
            weak = settings.aux_weight * torch.stack([auxiliary[m, depth].loss for m in helped]) if helped else None
            total.append(alpha * modulation.depth_loss(originals, weak, rho, rho_aux))
            logs[f"depth{depth + 1}/alpha"] = alpha
            for i, m in enumerate(self.modalities):
                logs |= block_logs(
                    f"depth{depth + 1}/{m}", original[m, depth], s[depth, i], rho[i], prototypes[m, depth]
                )
            for i, m in enumerate(helped):
                name, weak_block = f"depth{depth + 1}/{m}", auxiliary[m, depth]
                logs |= {
                    f"{name}/s_aux": weakened[m, depth],
                    f"{name}/rho_aux": rho_aux[i],
                    f"{name}/L_aux": weak_block.loss.detach(),
                }
        return torch.stack(total).sum()  # Eq. 15

    def classifier_loss(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """AIM-label: what trains the block classifiers, and nothing else."""
        assert self.classifiers is not None
        blocks = [(m, d) for m in self.modalities for d in range(self.depths)]
        return torch.stack(
            [
                self.classifiers.own_loss(m, d, self.stage(outputs, m, d).pooled[: len(targets)], targets)
                for m, d in blocks
            ]
        ).sum()

    def part(self, fraction: float, batch: int, step: int, device: torch.device) -> slice | Tensor:
        """The samples that auxiliary or good blocks see: all, or a random part drawn from (seed, step) alone; smaller
        parts lie in larger ones.
        """
        if fraction == 1:
            return slice(0, batch)
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) % 2**63)
        count = max(2, round(fraction * batch))  # batch normalisation wants two
        return torch.randperm(batch, generator=generator)[:count].sort().values.to(device)

    def _kept(self, maps: Any, prototypes: Tensor | None, targets: Tensor) -> BlockPass:
        """What Eq. 8 sees: constants unless `pdm.detach` is off."""
        if self.settings.pdm.detach:
            return BlockPass(detach(maps), detach(prototypes), targets)
        return BlockPass(maps, prototypes, targets)

    def auxiliary_blocks(self, s: Tensor) -> list[tuple[str, int]]:
        """Which blocks get auxiliaries given s [D, M]:
        all, or at each depth the dominant modality's (the abstract's reading).
        """
        if self.settings.aux_modalities == "all":
            return [(m, d) for m in self.modalities for d in range(self.depths)]
        return [(self.modalities[i], d) for d, i in enumerate(s.argmax(1).tolist())]

    def weak_score(self, modality: str, depth: int, seen: BlockPass, logs: Logs) -> modulation.Score:
        """Score of the auxiliary block E~_d^m; gradient reaches theta through the PDM,
        whose own weights are constants (Eq. 13).
        """
        assert self.pdm is not None
        block = self.block(modality, depth)
        theta, mean, spread = self.pdm.of(modality, depth).weak(block)
        logs |= {f"depth{depth + 1}/{modality}/w_mean": mean, f"depth{depth + 1}/{modality}/w_std": spread}
        output = call_untouched(block, theta, seen.inputs)
        return self.score(
            modality, depth, self.features(modality, output, None, len(seen.targets)), seen.prototypes, seen.targets
        )

    def good_score(self, modality: str, depth: int, seen: BlockPass) -> tuple[modulation.Score, Tensor]:
        """Score of the block with theta_g, and L_re: the two terms of Eq. 8."""
        assert self.pdm is not None
        block = self.block(modality, depth)
        theta, error = self.pdm.of(modality, depth).good(block, self.settings.pdm.relative, self.settings.pdm.detach)
        output = call_untouched(block, theta, seen.inputs)
        return self.score(
            modality, depth, self.features(modality, output, None, len(seen.targets)), seen.prototypes, seen.targets
        ), error

    @property
    def waiting(self) -> bool:
        """Whether block passes are kept for `decoupling_losses`."""
        return bool(self._passes)

    def keep(self, passes: dict[tuple[str, int], BlockPass]) -> None:
        """Hand block passes to `decoupling_losses`."""
        self._passes = dict(passes)

    def decoupling_losses(self) -> Iterator[tuple[Tensor, list[nn.Parameter], Logs]]:
        """Eq. 8 of each block on the passes last kept: L_g + L_re, the parameters it trains, and logs.

        One graph at a time.
        """
        assert self.pdm is not None
        while self._passes:
            (modality, depth), seen = self._passes.popitem()
            good, error = self.good_score(modality, depth, seen)
            name = f"depth{depth + 1}/{modality}"
            logs = {f"{name}/L_g": good.loss.detach(), f"{name}/L_re": error.detach(), f"{name}/s_good": good.s}
            yield good.loss + error, list(self.pdm.of(modality, depth).parameters()), logs
