"""MMPareto: Wei, Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024,
arXiv 2405.17730 (methods.md section 21.1).
"""

from typing import cast

import torch
from torch import Tensor, nn

from equimodal.methods.base import Batch, Step, Task, Trainer
from equimodal.methods.joint_uni.method import JointUni
from equimodal.methods.mmpareto.settings import MMParetoSettings
from equimodal.methods.optimizer import wants_sgd
from equimodal.models.framework import MultimodalModel, Outputs

LEAST_SHARE = 1e-3  # of either gradient in the shortest mixture


class MMPareto(JointUni):
    """Loss and head as joint-uni's; encoder m's gradient is gamma max(1, |g + g^m| / |n|) n, n = 2 k g + 2 (1 - k) g^m:
    g of the fused loss, g^m of the modality's own, k = 1/2 where they agree, else that of the shortest mixture.
    """

    paper = "ICML 2024"
    settings: MMParetoSettings

    def __init__(self, model: MultimodalModel, settings: MMParetoSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self._own_loss = torch.zeros(())
        self._own: dict[str, list[Tensor]] = {}
        self._found: dict[str, Tensor] = {}

    def prepare(self, trainer: Trainer) -> None:
        effect = (
            "divides the factor of the gradient (gamma, the restored length) away, so that only the change of direction"
            " is left"
        )
        wants_sgd(trainer, "mmpareto", effect)

    def forward(self, batch: Batch) -> Step:
        if self.settings.weight == 0:
            return super().forward(batch)  # bit for bit joint training
        outputs: Outputs = self.model(batch.inputs)
        own = {
            name: self.task.objective.loss(logits, batch.labels)
            for name, logits in self.model.readout(outputs.features).items()
        }
        self._own_loss = self.settings.weight * torch.stack(list(own.values())).sum()
        loss = self.task.objective.loss(outputs.logits, batch.labels) + self._own_loss
        return Step(loss, outputs.logits, {f"{name}/loss": value.detach() for name, value in own.items()})

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        step: Step = trainer.module(batch)
        if self.settings.weight > 0:
            # A modality's own loss reaches no other encoder: one pass gives g^m of all of them, and the pass of the
            # whole loss their sums g + g^m, beside the head's gradient, which stays.
            parts = {name: _trained(encoder) for name, encoder in self.model.encoders.items()}
            found = iter(trainer.gradients(self._own_loss, [p for part in parts.values() for p in part]))
            self._own = {name: [next(found) for _ in part] for name, part in parts.items()}
        trainer.optimize(step.loss)
        return Step(step.loss, step.logits, step.logs | self._found)

    def after_backward(self, trainer: Trainer) -> None:
        for name, own in self._own.items():
            total = [cast(Tensor, p.grad) for p in _trained(self.model.encoders[name])]
            agreement = pareto_(total, own, self.settings.gamma, self.settings.variant == "released")
            self._found |= {f"{name}/cosine": agreement, f"{name}/conflict": (agreement <= 0).to(agreement.dtype)}
        self._own = {}


def _trained(encoder: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in encoder.parameters() if parameter.requires_grad]


def pareto_(total: list[Tensor], own: list[Tensor], gamma: float, each_tensor: bool = False) -> Tensor:
    """Replace the tensors of an encoder's summed gradient g + g^m by MMPareto's, in place; returns the cosine [] of g
    and g^m, over all tensors.

    Args:
        total: g + g^m.
        own: g^m; used up.
        each_tensor: the length is kept tensor by tensor.
    """
    flat_total, flat_own = (torch.cat([part.flatten() for part in parts]) for parts in (total, own))
    flat_fused = flat_total - flat_own
    fused_square, own_square, inner = flat_fused @ flat_fused, flat_own @ flat_own, flat_fused @ flat_own
    k = fused_share(fused_square, own_square, inner)
    lengths = _lengths(total, each_tensor)
    torch._foreach_mul_(total, 2 * k)  # 2 k g + 2 (1 - k) g^m = 2 k (g + g^m) + (2 - 4 k) g^m
    torch._foreach_mul_(own, 2 - 4 * k)
    torch._foreach_add_(total, own)
    now = _lengths(total, each_tensor)
    restored = torch.where(now > 0, lengths / now, 1.0).clamp_min(1)
    torch._foreach_mul_(total, list((gamma * restored).expand(len(total)).unbind()))
    return inner / (fused_square * own_square).sqrt().clamp_min(torch.finfo(inner.dtype).tiny)


def fused_share(fused_square: Tensor, own_square: Tensor, inner: Tensor) -> Tensor:
    """k [] of the gradient of the fused loss, from |g|^2, |g^m|^2 and g . g^m: 1/2 where the product is above 0, else
    that of the shortest k g + (1 - k) g^m.
    """
    shortest = (own_square - inner) / (fused_square + own_square - 2 * inner)
    shortest = shortest.nan_to_num(0.5).clamp(LEAST_SHARE, 1 - LEAST_SHARE)
    return torch.where(inner > 0, 0.5, shortest)


def _lengths(tensors: list[Tensor], each_tensor: bool) -> Tensor:
    """Euclidean length of each tensor [n], or of all together [1]."""
    found = torch.stack(torch._foreach_norm(tensors))
    return found if each_tensor else torch.linalg.vector_norm(found, keepdim=True)
