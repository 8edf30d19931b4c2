"""Asymmetric reinforcing, ARM: Gao, Cao, Zhu, Wang, Hu, "Asymmetric Reinforcing against Multi-modal Representation
Bias", AAAI 2025, arXiv 2501.01240 (methods.md section 16).
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from equimodal.methods.arm.information import marginal_and_conditional
from equimodal.methods.arm.settings import ARMSettings
from equimodal.methods.base import Batch, Step, Task
from equimodal.methods.distributed import average
from equimodal.methods.joint_uni.method import JointUni
from equimodal.methods.scores import mean_of_others
from equimodal.models.framework import MultimodalModel, Outputs, pooled_features
from equimodal.models.fusion import Fusion, OneWidth
from equimodal.models.initialisation import initialise
from equimodal.objectives import by_target


class ReinforcedHead(Fusion):
    """h = Linear(M d, d) on the scaled features side by side, and one Linear(d, K), which also reads each modality's
    feature alone. Features of another width than d are mapped to it by a linear layer of their own.

    Args:
        dims, classes: as every fusion head's.
        width: d; None for the widest feature's.

    Attributes:
        factors: what each feature is multiplied by [M], in the order of `dims`; a buffer, so that a prediction needs
            nothing but its own sample.
    """

    readout_name = "split"
    factors: Tensor

    def __init__(self, dims: dict[str, int], classes: int, width: int | None) -> None:
        super().__init__(dims, classes)
        self.width = width or max(dims.values())
        self.maps = OneWidth(dims, self.width)
        self.join = nn.Linear(len(dims) * self.width, self.width)
        self.linear = nn.Linear(self.width, classes)
        initialise(self)
        self.register_buffer("factors", torch.ones(len(dims)))

    def enter(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Features {m: [B, d]}, in the order of `dims`, of one width."""
        return {name: self.maps(name, features[name]) for name in self.dims}

    def fused(self, entered: dict[str, Tensor]) -> Tensor:
        """h [B, d] of features {m: [B, d]}."""
        # A copy: the backward pass needs the factors as they were.
        scaled = [z * factor.to(z.dtype) for z, factor in zip(entered.values(), self.factors.clone(), strict=True)]
        joined: Tensor = self.join(torch.cat(scaled, 1))
        return joined

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.linear(self.fused(self.enter(features)))
        return logits

    def readout(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.linear(z) for name, z in self.enter(features).items()}


class ARM(JointUni):
    """L = CE(f, y), f of features that are multiplied by how much more the others say of the fused feature: factors of
    running means over training batches, which the exported model holds.

    Attributes:
        pcmi: running mean [M]; a buffer, float64.
        batches: how many training batches it has seen []; a buffer.
    """

    paper = "AAAI 2025"
    settings: ARMSettings
    pcmi: Tensor
    batches: Tensor

    def __init__(self, model: MultimodalModel, settings: ARMSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self.register_buffer("pcmi", torch.zeros(len(model.modalities), dtype=torch.float64))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @property
    def head(self) -> ReinforcedHead:
        """What the model has in place of its fusion head."""
        return cast(ReinforcedHead, self.model.fusion)

    @classmethod
    def adapt(cls, model: MultimodalModel, settings: ARMSettings, structure: dict[str, Any]) -> MultimodalModel:  # type: ignore[override]
        model.fusion = ReinforcedHead(model.fusion.dims, model.fusion.classes, settings.width)
        return model

    def forward(self, batch: Batch) -> Step:
        if self.settings.limit == 1:
            return super().forward(batch)
        stages = self.model.encode(batch.inputs)
        features = pooled_features(stages)
        entered = self.head.enter(features)
        fused = self.head.fused(entered)
        outputs = Outputs(self.head.linear(fused), features, stages)
        with torch.no_grad():
            each = torch.stack([z.float() for z in entered.values()])
            logits = torch.stack([outputs.logits, *(self.head.linear(z) for z in entered.values())])
            marginal, conditional = marginal_and_conditional(
                each, fused.float(), self.settings.bins, self.settings.conditional_bins
            )
            c = self._true_class(logits, batch.labels)
            logs = self._reinforce(c, marginal, conditional)
        return Step(self.loss(batch, outputs), outputs.logits, logs)

    def _true_class(self, logits: Tensor, labels: Tensor) -> Tensor:
        """c [M + 1], float64: mean probability of the true class by logits [M + 1, B, K], the fused ones first."""
        objective = self.task.objective
        known = torch.stack([objective.log_probabilities(each.double()) for each in logits])
        return by_target(known.exp(), objective.memberships(labels)).mean(1)

    def _reinforce(self, c: Tensor, marginal: Tensor, conditional: Tensor) -> dict[str, Tensor]:
        """Take a batch's measures into the running means; the factors that follow are the next batch's."""
        own = mean_of_others(c[1:]) if self.settings.variant == "released" else c[1:]
        # Of all processes: their models must stay alike.
        (pcmi,) = average(c[0] * marginal + own * (marginal - conditional))
        kept = self.settings.momentum * (self.batches > 0)
        self.pcmi.copy_(kept * self.pcmi + (1 - kept) * pcmi)
        self.batches += 1
        self.head.factors.copy_(factors(self.pcmi, self.settings.limit))
        logs: dict[str, Tensor] = {}
        for name, value, factor in zip(self.model.modalities, pcmi, self.head.factors.clone(), strict=True):
            logs |= {f"{name}/pcmi": value, f"{name}/factor": factor}
        return logs


def factors(pcmi: Tensor, limit: float) -> Tensor:
    """Factors [M] of pcmi^m [M]: mean of the others' over the own, from 1/limit to limit. A measure of 0 or less, which
    the noise of histograms makes, counts as next to nothing.
    """
    least = pcmi.clamp_min(torch.finfo(pcmi.dtype).tiny)
    return (mean_of_others(least) / least).clamp(1 / limit, limit)
