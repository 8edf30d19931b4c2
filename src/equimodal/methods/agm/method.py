"""Adaptive gradient modulation, AGM: Li, Li, Hu, Lei, Li, Zhou, ICCV 2023 (methods.md section 10)."""

import math

import torch
from torch import Tensor, nn

from equimodal.methods.agm.settings import AGMSettings
from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.methods.distributed import average
from equimodal.methods.optimizer import wants_sgd
from equimodal.methods.scores import mean_of_others, of_true_class
from equimodal.methods.shapley import shapley_weights, subsets
from equimodal.models.framework import MultimodalModel
from equimodal.models.frozen import evaluation_mode
from equimodal.models.padded import Input, Padded, zeroed_inputs

LEAST_PROBABILITY = 1e-8  # of the true class, in c


class AGM(Method[AGMSettings]):
    """Cross entropy on the fused logits, which are the sum of the modalities' Shapley values phi^m; the gradient that
    flows into phi^m is scaled by kappa^m, less for a modality that is further ahead than on average so far.

    Attributes:
        shapley: weights [M, 2^M - 1] of the subsets' logits; a buffer.
        sums, iterations: sum of c^m [M] over the steps so far, and how many there were []; buffers, float64.
        kappa: of the last modulated step [M]; a buffer, float64.
    """

    paper = "ICCV 2023"
    shapley: Tensor
    sums: Tensor
    iterations: Tensor
    kappa: Tensor

    def __init__(self, model: MultimodalModel, settings: AGMSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        count = len(model.modalities)
        self._window = settings.window_epochs(task.epochs)
        self._cap = settings.cap or (10.0 if count == 2 else 7.0)
        self._active = self._scaled = False
        self._subsets = subsets(count)
        self.register_buffer("shapley", shapley_weights(count).float(), persistent=False)
        self.register_buffer("sums", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("iterations", torch.zeros((), dtype=torch.float64))
        self.register_buffer("kappa", torch.ones(count, dtype=torch.float64))

    def prepare(self, trainer: Trainer) -> None:
        effect = "divides a constant factor of the gradient away, so that little of the modulation is left"
        wants_sgd(trainer, "agm", effect)

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        on = self.settings.alpha > 0
        self._active = on and epoch in self._window
        # The released code leaves its last factors in place when the window has ended.
        goes_on = self.settings.variant == "released" and epoch >= self._window.stop
        self._scaled = self._active or (on and goes_on)

    def forward(self, batch: Batch) -> Step:
        if not self._scaled:
            return super().forward(batch)  # bit for bit joint training
        # In training mode, and first: what it does to the running statistics would spoil the backward pass of others.
        fused = self.model(batch.inputs).logits.float()
        phi = attributions(torch.cat([self._padded(batch.inputs), fused[None]]), self.shapley)
        with torch.no_grad():
            c = attribution_losses(phi, batch.labels)
            if self._active:
                (c,) = average(c)  # the gradients are those of all processes: so must the coefficients be
                c_mean = self.sums / self.iterations.clamp_min(1)
                self.kappa.copy_(coefficients(c, c_mean, self.settings.alpha, self._cap))
                self.sums += c
                self.iterations += 1
            factor = self.kappa.to(phi.dtype)[:, None, None]
        phi.register_hook(lambda gradient: gradient * factor)
        total = phi.sum(0)
        # T by value, to the bit; T's gradient goes through phi.
        logits = fused.detach() + (total - total.detach())
        logs: dict[str, Tensor] = {}
        for name, loss, kappa in zip(self.model.modalities, c, self.kappa.clone(), strict=True):
            logs |= {f"{name}/c": loss, f"{name}/kappa": kappa}
        return Step(self.task.objective.loss(logits, batch.labels), fused, logs)

    def _padded(self, inputs: dict[str, Input]) -> Tensor:
        """v(S) [2^M - 2, B, K] of the subsets but the whole: logits with the other modalities' inputs at zero, in
        evaluation mode, with gradient.

        Encoders do not see each other, so each needs two passes, on its input and on zeros, whatever M is.
        """
        size = len(next(iter(inputs.values())))
        parts = self._subsets[:-1]
        joined = {}
        with evaluation_mode(self.model):
            for place, (name, encoder) in enumerate(self.model.encoders.items()):
                seen = encoder(inputs[name])
                silent = encoder(_silent(inputs[name])).expand_as(seen)
                joined[name] = torch.cat([seen if place in part else silent for part in parts])
            return self.model.fuse(joined).float().unflatten(0, (len(parts), size))

    def after_backward(self, trainer: Trainer) -> None:
        if not self._scaled or self.settings.head_limit is None:
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        head = torch.stack([p.grad.abs().max() for p in self.model.fusion.parameters() if p.grad is not None]).max()
        norm = nn.utils.get_total_norm(gradients)
        factor = torch.where(head > self.settings.head_limit, (1 / (norm + 1e-6)).clamp_max(1), 1.0)
        for gradient in gradients:
            gradient.mul_(factor)


def _silent(x: Input) -> Input:
    """Zeros in the place of one modality's input: one row stands for a batch of equal ones, sequences keep their
    masks.
    """
    return zeroed_inputs({"": x}, [""])[""] if isinstance(x, Padded) else torch.zeros_like(x[:1])


def attributions(values: Tensor, weights: Tensor) -> Tensor:
    """phi [M, B, K] of the subsets' logits [2^M - 1, B, K] and Shapley weights [M, 2^M - 1]; they add up to the whole
    set's logits. M = 2: phi^1 = (T - v(2) + v(1)) / 2.
    """
    with torch.autocast(values.device.type, enabled=False):
        return torch.tensordot(weights, values, dims=([1], [0]))


def attribution_losses(phi: Tensor, labels: Tensor) -> Tensor:
    """c^m [M], float64: mean over the batch of -log max(softmax(phi^m_i)_{y_i}, 1e-8), phi [M, B, K], labels [B]."""
    true = of_true_class(phi.double().log_softmax(2), labels)
    return -true.clamp_min(math.log(LEAST_PROBABILITY)).mean(1)


def coefficients(c: Tensor, c_mean: Tensor, alpha: float, cap: float) -> Tensor:
    """kappa^m [M] = exp(alpha min(R^m - r^m, cap)); r^m = exp(mean of the others' c - c^m) of this batch, R^m the same
    of the means over all earlier steps (0 before the first).
    """

    def ahead(losses: Tensor) -> Tensor:
        return torch.exp(mean_of_others(losses) - losses)

    return torch.exp(alpha * (ahead(c_mean) - ahead(c)).clamp_max(cap))
