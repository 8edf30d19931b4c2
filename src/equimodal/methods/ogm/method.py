"""On-the-fly gradient modulation, OGM and OGM-GE: Peng, Wei, Deng, Wang, Hu, CVPR 2022 (methods.md section 7)."""

import logging

import torch
from torch import Tensor, nn

from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.methods.ogm.settings import OGMSettings
from equimodal.methods.optimizer import wants_sgd
from equimodal.methods.scores import mean_of_others
from equimodal.models.framework import MultimodalModel
from equimodal.seeding import generator

log = logging.getLogger(__name__)

RELEASED_EPSILON = 1e-8  # the released code adds it to the noise's standard deviation


class OGM(Method[OGMSettings]):
    """Cross entropy on the fused logits; after the backward pass the gradients of the encoders that lead are made
    smaller.

    With `ge`, Gaussian noise as wide as each gradient is added to the encoders' gradients, the one of the lagging
    modality included.
    """

    paper = "CVPR 2022"

    def __init__(self, model: MultimodalModel, settings: OGMSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        # The released code compares with both ends: 0 to 50 are 51 epochs.
        self._window = settings.window_epochs(task.epochs, both_ends=settings.variant == "released")
        self._filter = (
            "conv4d" if settings.param_filter == "auto" and settings.variant == "released" else settings.param_filter
        )
        self._active = False
        self._scores = torch.zeros(len(model.modalities))
        self._sum, self._steps = torch.zeros(len(model.modalities)), 0
        self._noise = torch.Generator()

    def prepare(self, trainer: Trainer) -> None:
        effect = "divides a constant factor of the gradient away, so that only the noise of ge is left"
        wants_sgd(trainer, "ogm", effect)
        for name, encoder in self.model.encoders.items():
            if not modulated(encoder, self._filter):
                log.warning(
                    "ogm: the encoder of '%s' has no parameter that param_filter = %s takes: it is not modulated",
                    name,
                    self._filter,
                )

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        self._active = epoch in self._window
        self._sum, self._steps = torch.zeros(len(self.model.modalities), dtype=torch.float64, device=trainer.device), 0
        # Its own generator, by epoch: no other draw moves, and a resumed run draws the same.
        self._noise = generator(self.task.seed, "ogm", epoch, device=trainer.device)

    def forward(self, batch: Batch) -> Step:
        outputs = self.model(batch.inputs)
        with torch.no_grad():
            self._scores = true_class_scores(self.model.readout(outputs.features), batch.labels)
        logs = {
            f"{name}/score": score / len(batch.labels)
            for name, score in zip(self.model.modalities, self._scores, strict=True)
        }
        return Step(self.loss(batch, outputs), outputs.logits, logs)

    def after_backward(self, trainer: Trainer) -> None:
        k = torch.ones_like(self._sum)
        if self._active:
            # The gradients are those of all processes: so must the coefficients be.
            scores = trainer.total(self._scores)
            k = coefficients(scores, self.settings.alpha, self.settings.variant == "released")
            for encoder, factor in zip(self.model.encoders.values(), k, strict=True):
                for parameter in modulated(encoder, self._filter):
                    if parameter.grad is not None:
                        self._modulate(parameter.grad, factor)
        self._sum += k
        self._steps += 1

    def _modulate(self, gradient: Tensor, factor: Tensor) -> None:
        """g <- k g, or with ge g <- k g + N(0, std(g)^2),
        the deviation over the elements of the gradient before it is scaled.
        """
        if not self.settings.ge:
            gradient.mul_(factor)
            return
        deviation = gradient.std(correction=min(1, gradient.numel() - 1))
        if self.settings.variant == "released":
            deviation = deviation + RELEASED_EPSILON
        noise = torch.randn(gradient.shape, generator=self._noise, device=gradient.device, dtype=gradient.dtype)
        gradient.mul_(factor).add_(noise * deviation)

    def end_epoch(self, epoch: int, trainer: Trainer) -> dict[str, float]:
        means = (self._sum / max(1, self._steps)).tolist()
        return {f"{name}/k": value for name, value in zip(self.model.modalities, means, strict=True)}


def true_class_scores(logits: dict[str, Tensor], labels: Tensor) -> Tensor:
    """s^m [M]: sum over the batch of the probability
    that each modality's logits [B, K] give the true class (labels [B]).
    """
    return torch.stack([u.float().softmax(1).gather(1, labels[:, None]).sum() for u in logits.values()])


def ratios(scores: Tensor) -> Tensor:
    """rho^m [M], float64, of scores s^m [M]: s^m / mean of the other scores, for two modalities the paper's s^m / s^m'
    (methods.md 7.5).
    """
    scores = scores.double()
    return scores / mean_of_others(scores).clamp_min(torch.finfo(torch.float32).tiny)


def coefficients(scores: Tensor, alpha: float, released: bool = False) -> Tensor:
    """k^m [M], float64, of scores s^m [M]: 1 - tanh(alpha rho^m) where rho^m > 1, else 1 (Eq. 10).

    When nobody leads, the released code's else-branch scales down the first modality all the same.
    """
    rho = ratios(scores)
    leads = rho > 1
    if released:
        leads[0] |= ~leads.any()
    return torch.where(leads, 1 - torch.tanh(alpha * rho), torch.ones_like(rho))


def modulated(encoder: nn.Module, param_filter: str) -> list[nn.Parameter]:
    """The parameters of an encoder whose gradients are modulated;
    `auto`: kernels where there are convolutions, else all matrices.
    """
    parameters = list(encoder.parameters())
    if param_filter == "auto":
        param_filter = "conv4d" if any(parameter.dim() == 4 for parameter in parameters) else "matrices"
    if param_filter == "all":
        return parameters
    return [
        parameter
        for parameter in parameters
        if (parameter.dim() == 4 if param_filter == "conv4d" else parameter.dim() >= 2)
    ]
