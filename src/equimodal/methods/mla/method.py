"""MLA: Zhang, Yoon, Bansal, Yao, "Multimodal Representation Learning by Alternating Unimodal Adaptation", CVPR 2024,
arXiv 2311.10707 (methods.md section 11).
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.methods.distributed import average
from equimodal.methods.mla.settings import MLASettings
from equimodal.methods.optimizer import wants_sgd
from equimodal.models.framework import MultimodalModel
from equimodal.models.fusion import OneWidth, WeightedReadouts


class SharedHead(WeightedReadouts):
    """One Linear(d, K) that every modality's feature passes; predictions are weighted sums of its logits.

    Features of another width than d are mapped to it by a linear layer of their own, which is trained with their
    encoder.

    Args:
        dims, classes: as every fusion head's.
        settings: the method's.
    """

    def __init__(self, dims: dict[str, int], classes: int, settings: MLASettings) -> None:
        super().__init__(dims, classes, settings.merge)
        self.width = settings.width or max(dims.values())
        self.rule = settings.predicts
        self.maps = OneWidth(dims, self.width)
        self.linear = nn.Linear(self.width, classes)
        for layer in (*self.maps.values(), self.linear):
            nn.init.xavier_normal_(cast(nn.Linear, layer).weight)
            nn.init.zeros_(cast(nn.Linear, layer).bias)

    def enter(self, name: str, feature: Tensor) -> Tensor:
        """What the head sees [B, d] of a modality's feature [B, d_m]."""
        return cast(Tensor, self.maps(name, feature))

    def readout(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.linear(self.enter(name, features[name])) for name in self.dims}

    def predict(self, features: dict[str, Tensor]) -> Tensor:
        return self.merged(self.readout(features))

    def merged(self, logits: dict[str, Tensor]) -> Tensor:
        """Predictions' logits [B, K] of the modalities' own {m: [B, K]}: sum_m w^m u^m, by the rule of `prediction`.
        Modalities that are missing are left out.
        """
        if self.rule == "fixed":
            return self.weighted(logits)
        each = torch.stack([logits[name] for name in self.dims if name in logits])  # [M, B, K]
        return (entropy_weights(each, self.rule == "entropy_batch").to(each.dtype) * each).sum(0)


class MLA(Method[MLASettings]):
    """For each modality in turn: cross entropy of the shared head on its feature alone, one step of its encoder and of
    the head, whose gradient is first projected away from the mean features that the head has seen.

    Attributes:
        projector: P [d, d].
        previous: mean feature r [d] of the step before.
    """

    paper = "CVPR 2024"
    projector: Tensor
    previous: Tensor

    def __init__(self, model: MultimodalModel, settings: MLASettings, task: Task) -> None:
        super().__init__(model, settings, task)
        assert isinstance(model.fusion, SharedHead)
        self._batch = 0
        self._calls = 0
        self._current = torch.zeros(0)
        self._kept, self._steps = torch.zeros(()), 0
        if settings.projects != "none":
            self.register_buffer("projector", torch.eye(self.head.width))
            self.register_buffer("previous", torch.zeros(self.head.width))

    @property
    def head(self) -> SharedHead:
        """What the model has in place of a fused head."""
        return cast(SharedHead, self.model.fusion)

    @classmethod
    def adapt(cls, model: MultimodalModel, settings: MLASettings, structure: dict[str, Any]) -> MultimodalModel:
        model.fusion = SharedHead(model.fusion.dims, model.fusion.classes, settings)
        return model

    def extra(self) -> dict[str, Any]:
        return {"calls": self._calls}

    def load_extra(self, state: dict[str, Any]) -> None:
        self._calls = state["calls"]

    def prepare(self, trainer: Trainer) -> None:
        if self.settings.projects != "none":
            effect = (
                "rescales every weight by itself, so that the head's steps leave the subspace that its gradient was"
                " projected to"
            )
            wants_sgd(trainer, "mla", effect)

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        self._batch = 0
        self._kept, self._steps = torch.zeros((), dtype=torch.float64, device=trainer.device), 0

    def forward(self, batch: Batch, modality: str | None = None) -> Step:
        """Loss and logits of one modality alone; by default the first."""
        modality = modality or self.model.modalities[0]
        seen = self.head.enter(modality, self.model.encoders[modality](batch.inputs[modality]))
        self._current = seen.detach().float().mean(0)
        logits = self.head.linear(seen)
        return Step(self.modality_loss(modality, seen, logits, batch.labels), logits, {})

    def modality_loss(self, modality: str, seen: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of one modality: what the head sees of it [B, d], and its logits [B, K]."""
        return self.task.objective.loss(logits, labels)

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        steps: dict[str, Step] = {}
        # No encoder takes part in another's step: features taken now are those taken before the first step. Each has
        # its own pass, so that DDP sees one backward pass a forward pass.
        for name in self.model.modalities:
            steps[name] = trainer.module(batch, name)
            trainer.optimize(steps[name].loss)
        self._batch += 1
        losses = {f"{name}/loss": step.loss.detach() for name, step in steps.items()}
        with torch.no_grad():
            merged = self.head.merged({name: step.logits.detach() for name, step in steps.items()})
        return Step(torch.stack(list(losses.values())).mean(), merged, losses)

    def after_backward(self, trainer: Trainer) -> None:
        """grad W <- grad W P^T, P updated by the mean feature r; the very first step has no P yet."""
        if self.settings.projects == "none":
            return
        (current,) = average(self._current)  # of all processes, as the gradient is
        if self._calls > 0:
            r = current if self.settings.project_on == "current" else self.previous
            decay = 0.1 ** (self._batch / self.task.steps + 1)
            elementwise = self.settings.projects == "elementwise"
            self.projector.copy_(projected(self.projector, r, decay, elementwise, self.settings.frobenius))
            gradient = self.head.linear.weight.grad
            assert gradient is not None
            before = torch.linalg.vector_norm(gradient)
            gradient.copy_(gradient @ self.projector.T.to(gradient.dtype))
            self._kept += torch.linalg.vector_norm(gradient) / before.clamp_min(torch.finfo(before.dtype).tiny)
            self._steps += 1
        self.previous.copy_(current)
        self._calls += 1

    def end_epoch(self, epoch: int, trainer: Trainer) -> dict[str, float]:
        if self.settings.projects == "none":
            return {}
        return {"head/kept": float(self._kept) / max(1, self._steps)}


def projected(projector: Tensor, r: Tensor, decay: float, elementwise: bool = False, frobenius: bool = False) -> Tensor:
    """The projector [d, d] after a mean feature r [d]: P - k k^T / (a + r^T k), k = P r, recursive least squares.

    From P = I it is (I + sum r r^T / a)^-1.

    Args:
        decay: a.
        elementwise: divide by a + k r^T, a matrix, as the released code writes it.
        frobenius: divide by the Frobenius norm.
    """
    k = projector @ r
    denominator = torch.outer(k, r) if elementwise else r @ k
    updated = projector - torch.outer(k, k) / (decay + denominator)
    return updated / torch.linalg.matrix_norm(updated) if frobenius else updated


def entropy_weights(logits: Tensor, batch: bool = False) -> Tensor:
    """Weights of the modalities from their logits [M, B, K]: exp(H_max - H^m) over their sum, H^m the entropy of
    softmax(u^m). They sum to 1 over M: [M, B, 1].

    Args:
        batch: the released code's, one weight for the batch [M, 1, 1]: the softmax is over the samples and H^m a sum
            over classes and samples.
    """
    p = logits.float().log_softmax(1 if batch else 2)
    entropy = -(p.exp() * p).sum((1, 2) if batch else 2, keepdim=True)
    return (entropy.amax(0) - entropy).softmax(0)
