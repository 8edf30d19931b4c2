"""ReconBoost: Hua, Xu, Bao, Yang, Huang, "ReconBoost: Boosting Can Achieve Modality Reconcilement", ICML 2024,
arXiv 2405.09321 (methods.md section 21.3).
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.methods.reconboost.settings import ReconBoostSettings
from equimodal.models.framework import MultimodalModel
from equimodal.models.frozen import evaluation_mode
from equimodal.models.fusion import Sum

PUBLISHED_EPOCHS = 4  # of a turn, and of the joint training after it
LEAST_ROUNDS = 3  # in a run, before turns become shorter than published


class ReconBoost(Method[ReconBoostSettings]):
    """Turns of one modality, each followed by joint training of all: the logits are the sum of the modalities' own. In
    its turn a modality learns the label less what the others know of it, and to agree with them.
    """

    paper = "ICML 2024"

    def __init__(self, model: MultimodalModel, settings: ReconBoostSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        fitting = task.epochs // (LEAST_ROUNDS * 2 * len(model.modalities))
        fitting = max(1, min(PUBLISHED_EPOCHS, fitting))
        self._stage = fitting if settings.stage_epochs is None else settings.stage_epochs
        self._rectify = fitting if settings.rectify_epochs is None else settings.rectify_epochs
        self._turn: str | None = None
        self._agreement = 0.0

    @classmethod
    def adapt(cls, model: MultimodalModel, settings: ReconBoostSettings, structure: dict[str, Any]) -> MultimodalModel:
        model.fusion = Sum(model.fusion.dims, model.fusion.classes)
        return model

    def load_unimodal(self, models: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().load_unimodal(models)
        head = cast(Sum, self.model.fusion)
        for name, state in models.items():
            head.linears[name].load_state_dict({key: state[f"fusion.linear.{key}"] for key in ("weight", "bias")})

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        number, within = divmod(epoch, self._stage + self._rectify)
        names = self.model.modalities
        self._turn = names[number % len(names)] if within < self._stage else None
        # In the first turn there is no turn before it to keep in memory, as released.
        with_agreement = number > 0 and self.settings.variant == "paper"
        self._agreement = self.settings.agreement if with_agreement else 0.0

    def forward(self, batch: Batch) -> Step:
        turn = self._turn
        if turn is None:
            return super().forward(batch)
        with torch.no_grad(), evaluation_mode(self.model):
            features = {name: each(batch.inputs[name]) for name, each in self.model.encoders.items() if name != turn}
        features[turn] = self.model.encoders[turn](batch.inputs[turn])
        logits = self.model.readout(features)
        own = logits.pop(turn).float()
        others = torch.stack(list(logits.values())).detach().float().sum(0)
        residual, distance = turn_losses(
            own, others, batch.labels, self.settings.label_weight, self.settings.known_weight
        )
        loss = residual + self._agreement * distance if self._agreement > 0 else residual
        logs = {f"{turn}/residual": residual.detach(), f"{turn}/distance": distance.detach()}
        return Step(loss, own + others, logs)


def turn_losses(
    own: Tensor, others: Tensor, labels: Tensor, label_weight: float, known_weight: float
) -> tuple[Tensor, Tensor]:
    """Of a modality's logits and the sum of the others' [B, K], which is a constant: its boosting loss, the mean over
    samples and classes of -(w1 - w2 p_others) y log p_own, and the mean square of p_own - p_others.
    """
    known = others.softmax(1)
    left = label_weight - known_weight * known.gather(1, labels[:, None])[:, 0]
    residual = (left * functional.cross_entropy(own, labels, reduction="none")).mean() / own.shape[1]
    return residual, functional.mse_loss(own.softmax(1), known)
