"""MIE and IGM: Jiang, Chi, Yang, arXiv 2407.04587 and IJCAI 2025 (methods.md section 15). Phases of one modality each,
sharpness-aware steps (SAM), and gradients of the head filtered by what other modalities' heads see.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor, nn

from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.methods.mie.settings import MIESettings
from equimodal.methods.optimizer import wants_sgd
from equimodal.models.framework import MultimodalModel
from equimodal.models.frozen import untracked
from equimodal.models.fusion import Fusion, mean_prediction
from equimodal.seeding import generator


class SeparateHeads(Fusion):
    """A head Linear, ReLU, Linear, Linear for every modality; predictions are the mean of their softmaxes, in a
    regression of their outputs.

    Args:
        dims, classes: as every fusion head's.
        hidden: outputs of the first two layers.
        averaged: as every fusion head's; True in a regression.
    """

    readout_name = "split"

    def __init__(self, dims: dict[str, int], classes: int, hidden: tuple[int, int], averaged: bool) -> None:
        super().__init__(dims, classes)
        self.averaged = averaged
        first, second = hidden
        self.heads = nn.ModuleDict()
        for name, width in dims.items():
            layers = [nn.Linear(width, first), nn.ReLU(), nn.Linear(first, second), nn.Linear(second, classes)]
            self.heads[name] = nn.Sequential(*layers)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_normal_(part.weight)
                nn.init.zeros_(part.bias)

    def linears(self, name: str) -> list[nn.Linear]:
        """The linear layers of a modality's head."""
        return [layer for layer in cast(nn.Sequential, self.heads[name]) if isinstance(layer, nn.Linear)]

    def inputs(self, name: str, feature: Tensor) -> list[Tensor]:
        """What each linear layer sees [B, its inputs] of a modality's feature [B, d_m]."""
        seen, x = [], feature
        for layer in cast(nn.Sequential, self.heads[name]):
            if isinstance(layer, nn.Linear):
                seen.append(x)
            x = layer(x)
        return seen

    def readout(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.heads[name](features[name]) for name in self.dims}

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """log mean_m softmax(u^m) [B, K]: logits whose softmax is the mean of the softmaxes."""
        each = torch.stack(list(self.readout(features).values()))
        return mean_prediction(each, self.averaged)


class MIE(Method[MIESettings]):
    """In its phase, a modality trains alone its encoder and its head: (1 - perturbed) L(theta) + perturbed L(theta +
    radius g / ||g||), and the gradient of each of the head's weights is multiplied by the filter P of that layer.

    Attributes:
        filter_{m}_{l}: P [inputs, inputs] of the l-th linear layer of m's head; buffers, of use in m's phase.
    """

    paper = "IJCAI 2025"

    def __init__(self, model: MultimodalModel, settings: MIESettings, task: Task) -> None:
        super().__init__(model, settings, task)
        assert isinstance(model.fusion, SeparateHeads)
        names = model.modalities
        places = phases(task.epochs, settings.cycles, settings.lengths or [1.0] * len(names))
        self._order = [names[place] for place in places]
        self._active = names[0]
        self._others: list[str] = []  # trained in earlier phases; they filter
        self._stale = False
        self._draw = torch.Generator()
        self._mix: tuple[Tensor, Tensor] | None = None
        self._before: list[tuple[nn.Parameter, Tensor]] = []  # weights as they were before the step uphill
        for name in names:
            for place, layer in enumerate(self.head.linears(name)):
                self.register_buffer(f"filter_{name}_{place}", torch.eye(layer.in_features))

    @property
    def head(self) -> SeparateHeads:
        """What the model has in place of a fused head."""
        return cast(SeparateHeads, self.model.fusion)

    @classmethod
    def adapt(cls, model: MultimodalModel, settings: MIESettings, structure: dict[str, Any]) -> MultimodalModel:
        old = model.fusion
        widest = max(old.dims.values())
        hidden = settings.hidden or (max(1, widest // 2), max(widest // 8, old.classes))
        model.fusion = SeparateHeads(old.dims, old.classes, hidden, old.averaged)
        return model

    def prepare(self, trainer: Trainer) -> None:
        if self.settings.damping > 0:
            effect = "rescales every weight by itself, so that little of the filter of gradients is left"
            wants_sgd(trainer, "mie", effect)

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        self._active = self._order[epoch]
        earlier = self._order[:epoch]
        self._others = [m for m in self.model.modalities if m in earlier and m != self._active]
        begins = not earlier or earlier[-1] != self._active
        self._stale = begins and self._filters
        self._draw = generator(self.task.seed, "mie", epoch, device=trainer.device)

    @property
    def _filters(self) -> bool:
        return self.settings.damping > 0 and bool(self._others)

    def forward(self, batch: Batch) -> Step:
        """Loss and logits of the modality whose phase it is."""
        feature = self.model.encoders[self._active](batch.inputs[self._active])
        objective, labels = self.task.objective, batch.labels
        if self._mix is None:
            logits = self.head.heads[self._active](feature)
            return Step(objective.loss(logits, labels), logits, {})
        share, partners = self._mix
        logits = self.head.heads[self._active](torch.lerp(feature[partners], feature, share.to(feature.dtype)))
        plain = objective.loss(logits, labels)
        loss = share * plain + (1 - share) * objective.loss(logits, labels[partners])
        if self.settings.variant == "released":
            loss = (1 - self.settings.perturbed) * loss + self.settings.perturbed * plain
        return Step(loss, logits, {})

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        if self._stale:  # before the phase's first step, as a part of its work
            self._refresh(trainer)
            self._stale = False
        self._mix = self._drawn(len(batch.labels)) if self.settings.mixup else None
        step: Step = trainer.module(batch)
        logs = {f"{self._active}/loss": step.loss.detach()}
        if not self.settings.climbs:
            trainer.optimize(step.loss)
            return step._replace(logs=logs)
        trainer.backward(step.loss)
        self._climb()
        with untracked(self.model):
            uphill: Step = trainer.module(batch)
        trainer.optimize(self.settings.perturbed * uphill.loss)
        logs[f"{self._active}/sharpness"] = uphill.loss.detach() - step.loss.detach()
        return step._replace(logs=logs)

    def _drawn(self, batch: int) -> tuple[Tensor, Tensor]:
        """The share of each sample's own feature [], and its partner [B]."""
        device = self._draw.device
        share = torch.rand((), generator=self._draw, device=device)
        return share, torch.randperm(batch, generator=self._draw, device=device)

    @torch.no_grad()
    def _climb(self) -> None:
        """theta <- theta + radius g / ||g||; the gradients keep the first loss's part of the step."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        gradients = [cast(Tensor, p.grad) for p in parameters]
        norm = nn.utils.get_total_norm(gradients)
        scale = self.settings.radius / norm.clamp_min(torch.finfo(norm.dtype).tiny)
        self._before = [(p, p.detach().clone()) for p in parameters]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.add_(gradient * scale)
            gradient.mul_(1 - self.settings.perturbed)

    @torch.no_grad()
    def after_backward(self, trainer: Trainer) -> None:
        """Back to theta, then grad W <- grad W P."""
        for parameter, value in self._before:
            parameter.copy_(value)
        self._before = []
        if not self._filters:
            return
        for place, layer in enumerate(self.head.linears(self._active)):
            gradient = layer.weight.grad
            assert gradient is not None
            gradient.copy_(gradient @ self.get_buffer(f"filter_{self._active}_{place}").to(gradient.dtype))

    @torch.no_grad()
    def _refresh(self, trainer: Trainer) -> None:
        """P of the active modality's layers, from the inputs of the same layers of the others that have been trained,
        on the training split; a layer whose inputs are of another width takes no part.
        """
        found = trainer.features("train")
        order = torch.randperm(len(found.labels), generator=generator(self.task.seed, "mie-filter", self._active))
        covariances = [torch.zeros_like(p, dtype=torch.float64) for p in self._projections()]
        for name in self._others:
            for total, seen in zip(covariances, self.head.inputs(name, found.features[name]), strict=True):
                if seen.shape[1] == len(total):
                    chunks = seen[order.to(seen.device)].double().split(trainer.training.batch_size)
                    total += covariance(torch.stack([chunk.mean(0) for chunk in chunks]))
        for projection, total in zip(self._projections(), covariances, strict=True):
            projection.copy_(damped(total, self.settings.damping))

    def _projections(self) -> list[Tensor]:
        places = range(len(self.head.linears(self._active)))
        return [self.get_buffer(f"filter_{self._active}_{place}") for place in places]


def phases(epochs: int, cycles: int, lengths: Sequence[float]) -> list[int]:
    """The modality, by number, whose phase each epoch is in [epochs]: `cycles` rounds of one phase a modality, their
    lengths by ratio, each of at least one epoch; fewer rounds where there are not so many epochs.
    """
    count = len(lengths)
    cycles = max(1, min(cycles, epochs // count))
    shares = [part / sum(lengths) for part in accumulate(lengths)]
    order: list[int] = []
    for cycle in range(cycles):
        size = (cycle + 1) * epochs // cycles - cycle * epochs // cycles
        end = 0
        for place, share in enumerate(shares):
            begin, end = end, max(end + 1, min(round(share * size), size - (count - 1 - place)))
            order += [place] * (end - begin)
    return order[:epochs]


def covariance(means: Tensor) -> Tensor:
    """C [d, d]: sum over batches of r r^T, r the batches' mean layer inputs [batches, d]."""
    return means.T @ means


def damped(matrix: Tensor, damping: float) -> Tensor:
    """P [d, d] = V diag(exp(-damping (lam - lam_min) / (lam_max - lam_min))) V^T of a covariance V diag(lam) V^T: the
    identity where all lam are equal.
    """
    values, vectors = torch.linalg.eigh(matrix)
    spread = (values[-1] - values[0]).clamp_min(torch.finfo(values.dtype).tiny)
    return (vectors * torch.exp(-damping * (values - values[0]) / spread)) @ vectors.T
