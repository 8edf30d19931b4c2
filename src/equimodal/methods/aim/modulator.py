"""AIM on any framework with its blocks exposed: prototypes, auxiliary blocks, L_mod. Shared by the workbench's method
and the library.
"""

import torch
from torch import Tensor, nn

from equimodal.errors import UserError
from equimodal.methods.aim import modulation
from equimodal.methods.aim.auxiliary import Auxiliaries
from equimodal.methods.aim.blocks import Blocks, Place
from equimodal.methods.aim.classifiers import BlockClassifiers
from equimodal.methods.aim.dap import Prototypes
from equimodal.methods.aim.modulation import Logs, Score, Terms, named, score_logs
from equimodal.methods.aim.riding import Riding
from equimodal.methods.aim.settings import AIMSettings
from equimodal.methods.aim.showing import Prototyped, Showing
from equimodal.methods.distributed import average
from equimodal.models.framework import MultimodalModel, Outputs
from equimodal.models.frozen import evaluation_mode
from equimodal.models.padded import Input
from equimodal.objectives import Objective


class Modulator(nn.Module):
    """The networks that AIM trains beside a framework, and its losses.

    The framework is used, never held: it is not in the state.

    Args:
        model: the framework; encoders of unequal depth are aligned by relative depth to the shortest.
        objective: of the task; it has K prototypes.
        class_means: {m: [K, ...]}, mean evaluation input of every class (grid value of a regression).
        seed: of the random parts of batches (`aux_fraction`) and of the PDM's start.
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
        _check(settings)
        self.blocks = Blocks(model, settings.pool)
        self.settings = settings
        self.objective = objective
        self.seed = seed
        self.dap: Prototypes | None = None
        self.classifiers: BlockClassifiers | None = None
        if settings.scores == "label":
            self.classifiers = BlockClassifiers({m: self.blocks.widths(m) for m in self.modalities}, objective.classes)
        else:
            if class_means is None:
                raise UserError("aim: scores: prototypes needs the mean input of every class (class_means)")
            self.dap = Prototypes(
                {name: class_means[name] for name in self.modalities},
                {m: self.blocks.encoder(m).affine_axis for m in self.modalities},
                settings.dap,
                objective,
            )
        self.riding: Riding | None = None
        if self.dap is not None and settings.update == "joint":
            self.riding = Riding(self.blocks, self.dap, settings, seed)
        self.showing = Showing(self.blocks, settings, seed)
        self.auxiliaries: Auxiliaries | None = None
        if settings.pam:
            self.auxiliaries = Auxiliaries(self.blocks, settings.pdm, self.scores, seed)
        self.register_buffer("gap", torch.ones(self.blocks.depths))
        if self.constant:
            for (name, depth), prototypes in self.prototypes_in_evaluation().items():
                self.register_buffer(f"target_{name}_{depth}", prototypes)

    @property
    def model(self) -> MultimodalModel:
        """The framework."""
        return self.blocks.model

    @property
    def modalities(self) -> list[str]:
        """Of the framework."""
        return self.blocks.modalities

    @property
    def rides(self) -> bool:
        """Whether the prototypes are part of training batches."""
        return self.riding is not None

    def unsteady(self) -> bool:
        """Whether L_mod draws features after prototypes that its own step carries away, with nothing to hold them."""
        few = self.rides and self.settings.ride_fraction < 1
        norms = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
        return few and not any(isinstance(part, norms) for part in self.model.encoders.modules())

    @property
    def constant(self) -> bool:
        """Whether prototypes stay as they are within an epoch."""
        return self.dap is not None and self.settings.update == "alternate"

    def scores(
        self, places: list[Place], features: list[Tensor], prototypes: list[Tensor | None], targets: Tensor
    ) -> Score:
        """Eq. 9 and 10 of N blocks' features [B, C_i] and prototypes [K, C_i]: [N]; targets as in
        `modulation.score`.
        """
        if self.classifiers is not None:
            found = [self.classifiers.log_probabilities(*place, z) for place, z in zip(places, features, strict=True)]
            return modulation.score(torch.stack(found), targets)
        tau: Tensor | float
        if self.settings.tau == "auto":
            tau = self.get_buffer("gap")[[depth for _, depth in places]][:, None, None]
        else:
            tau = self.settings.tau
        z, p = modulation.padded(features), modulation.padded([each for each in prototypes if each is not None])
        return modulation.score(modulation.log_probabilities(z, p, tau, self.settings.normalize), targets)

    @torch.no_grad()
    def prototypes_in_evaluation(self) -> dict[Place, Tensor]:
        """P_d^m of Eq. 6 with running statistics, as constants."""
        assert self.dap is not None
        with evaluation_mode(self.model):
            outputs = self.model(self.dap.samples())
        return {place: self.blocks.features(outputs, place).clone() for place in self.blocks.places}

    def measure_gaps(self) -> None:
        """Set the scales of `tau: auto`: the mean nearest-prototype gap of every depth, with the samples' running
        statistics.

        One scale for all modalities of a depth: a scale of each one's own would make their s alike, and hide the
        imbalance that alpha measures.
        """
        found = self.prototypes_in_evaluation()
        for depth in range(self.blocks.depths):
            gaps = [modulation.nearest_gap(found[m, depth]) for m in self.modalities]
            self.get_buffer("gap")[depth] = torch.stack(gaps).mean()

    def refresh_targets(self, ema: float) -> None:
        """`update: alternate`: move the constant prototypes of every depth towards the present ones."""
        for (modality, depth), prototypes in self.prototypes_in_evaluation().items():
            self.get_buffer(f"target_{modality}_{depth}").mul_(ema).add_(prototypes, alpha=1 - ema)

    def forward(self, inputs: dict[str, Input], labels: Tensor, step: int) -> Terms:
        """One training batch through the framework (prototypes riding along), and AIM's terms on it.

        Args:
            inputs: {m: [B, ...]}; labels: [B].
            step: counts batches; it seeds what is drawn for a batch.
        """
        settings, batch = self.settings, len(labels)
        targets = self.objective.memberships(labels)
        outputs, prototypes, logs, losses = self._pass(inputs, batch, step)
        with torch.set_grad_enabled(torch.is_grad_enabled() and settings.lambda_mod > 0):
            modulated, more = self.modulate(outputs, prototypes, targets, step)
        logs |= more
        if settings.lambda_mod > 0:
            losses.append(settings.lambda_mod * modulated)
            if self.classifiers is not None:
                losses.append(self.classifier_loss(outputs, targets))
            own = self.auxiliaries
            if own is not None and own.due(step) and not settings.pdm.detach:  # Eq. 8 to the letter: it moves theta too
                for loss, _, more in own.losses(self.showing.learned(outputs, prototypes, targets, step)):
                    losses.append(loss)
                    logs |= more
        return Terms(
            torch.stack(losses).sum() if losses else None,
            outputs.logits[:batch],
            {m: z[:batch] for m, z in outputs.features.items()},
            logs,
        )

    def _pass(self, inputs: dict[str, Input], batch: int, step: int) -> tuple[Outputs, Prototyped, Logs, list[Tensor]]:
        """The framework's pass and P_d^m of every block, with Eq. 5 where prototypes ride."""
        if self.riding is not None:
            outputs, prototyped, logs, loss = self.riding.through(inputs, batch, step)
            return outputs, prototyped, logs, [loss]
        places = self.blocks.places
        if self.dap is None:
            return self.model(inputs), dict.fromkeys(places), {}, []
        return self.model(inputs), {(m, d): self.get_buffer(f"target_{m}_{d}") for m, d in places}, {}, []

    def modulate(self, outputs: Outputs, prototyped: Prototyped, targets: Tensor, step: int) -> tuple[Tensor, Logs]:
        """L_mod (Eq. 9 to 15) of a pass whose first rows are the samples, and logs; targets as in
        `modulation.score`.
        """
        settings, places, batch = self.settings, self.blocks.places, len(targets)
        grid = (self.blocks.depths, len(self.modalities))
        prototypes = [prototyped[place] for place in places]
        features = [self.blocks.features(outputs, place)[:batch] for place in places]
        original = self.scores(places, features, prototypes, targets)
        logs: Logs = {}
        weak, shown = None, []
        if self.auxiliaries is not None and settings.lambda_mod > 0:
            logs |= self.auxiliaries.decouple(step, lambda: self.showing.learned(outputs, prototyped, targets, step))
            shown = self.showing.chosen(original.s.view(grid), step)
        if self.auxiliaries is not None and shown:
            passes = self.showing.passes(outputs, prototyped, targets, step, settings.aux_fraction, shown)
            with torch.set_grad_enabled(torch.is_grad_enabled() and settings.aux_weight > 0):
                weak, more = self.auxiliaries.weak(passes)
            logs |= more
        # A step of several processes is one step on all their batches: its blocks have one s, rho and alpha.
        s, *found = average(original.s, *([] if weak is None else [weak.s]))
        s = s.view(grid)
        s_aux = weak_losses = None
        if weak is not None:
            s_aux, losses = found[0], weak.loss
            if len(shown) < len(places):
                at = torch.tensor([places.index(place) for place in shown], device=losses.device)
                s_aux = s.new_full((len(places),), torch.inf).index_copy(0, at, s_aux)
                losses = losses.new_zeros(len(places)).index_copy(0, at, losses)
            s_aux = s_aux.view(grid)
            weak_losses = settings.aux_weight * losses.view(grid)
        rho, rho_aux = modulation.block_weights(s, s_aux, settings.rho_norm == "apart")  # Eq. 12
        alpha = modulation.imbalance(s) if settings.dam else torch.ones_like(s[:, 0])  # Eq. 14
        originals = settings.original_weight * original.loss.view(grid)
        total = (alpha * modulation.depth_loss(originals, weak_losses, rho, rho_aux)).sum()  # Eq. 11, 15
        logs |= {f"depth{d + 1}/alpha": value for d, value in enumerate(alpha.unbind())}
        logs |= score_logs(places, original, s, rho)
        if self.dap is not None:
            cosines = modulation.off_diagonal_cosine(modulation.padded([p for p in prototypes if p is not None]))
            logs |= named(places, "prototype_cosine", cosines)
        if weak is not None:
            logs |= named(shown, "s_aux", found[0]) | named(shown, "L_aux", weak.loss.detach())
            shares = named(places, "rho_aux", rho_aux)
            logs |= {name: shares[name] for name in named(shown, "rho_aux", found[0])}
        return total, logs

    def classifier_loss(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """AIM-label: what trains the block classifiers, and nothing else."""
        assert self.classifiers is not None
        losses = [
            self.classifiers.own_loss(*place, self.blocks.stage(outputs, place).pooled[: len(targets)], targets)
            for place in self.blocks.places
        ]
        return torch.stack(losses).sum()


def _check(settings: AIMSettings) -> None:
    """Settings that do not go together, in a line."""
    if settings.lambda_mod == 0 and not settings.task_loss and settings.update == "alternate":
        raise UserError(
            "aim: lambda_mod = 0, task_loss: false and update: alternate leave nothing to train: set one"
            " of them otherwise"
        )
    if settings.scores == "label" and settings.pool == "none":
        raise UserError("aim: scores: label classifies pooled outputs: set pool: mean")
    if settings.aux_every > 1 and settings.rho_norm == "together" and settings.pam:
        raise UserError("aim: aux_every would change the originals' weights from step to step: set rho_norm: apart")
    if settings.ride_fraction < 1 and settings.update == "alternate":
        raise UserError("aim: ride_fraction belongs to update: joint; with update: alternate leave it at 1")
    if settings.ride_fraction < 1 and settings.statistics == "all":
        raise UserError("aim: prototypes that pass apart are normalised as the samples: set statistics: samples")
