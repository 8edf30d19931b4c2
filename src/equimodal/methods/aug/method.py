"""AUG, sustained boosting: Jiang, Huang, Yang, "Rethinking Multimodal Learning from the Perspective of Mitigating
Classification Ability Disproportion", NeurIPS 2025, arXiv 2502.20120 (methods.md section 14).
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from equimodal.methods.aug.settings import AUGSettings
from equimodal.methods.base import Batch, Method, Step, Task, Trainer
from equimodal.models.framework import MultimodalModel
from equimodal.models.fusion import WeightedReadouts
from equimodal.seeding import generator


class BoostedHeads(WeightedReadouts):
    """Every modality's own growing sum of classifiers Layer2(ReLU(Layer1_t(z^m))), merged by fixed weights;
    there is no fused head.

    Args:
        dims, classes: as every fusion head's.
        settings: the method's.
        owners: the modality of each classifier, in the order in which they were added.
    """

    def __init__(self, dims: dict[str, int], classes: int, settings: AUGSettings, owners: list[str]) -> None:
        super().__init__(dims, classes, settings.merge)
        self.settings = settings
        self.width = settings.width or max(1, max(dims.values()) // 2)
        shared = {"all": ["all"], "modality": list(dims), "none": []}[settings.shared_head]
        self.layer2 = nn.ModuleDict({name: self._linear(self.width, classes, None) for name in shared})
        self.owners: list[str] = []
        self.classifiers = nn.ModuleList()  # registered last: the parameters of one added later follow all others
        for owner in owners:
            self.add(owner)

    def _linear(self, inputs: int, outputs: int, draw: torch.Generator | None) -> nn.Linear:
        # Its own initialisation would draw from the global generator
        layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
        nn.init.xavier_normal_(layer.weight, generator=draw)
        nn.init.zeros_(layer.bias)
        return cast(nn.Linear, layer)

    def add(self, owner: str, draw: torch.Generator | None = None, trained: bool = True) -> None:
        """One more classifier for a modality. `trained: false` leaves it at its random start for good,
        as the released code does.
        """
        classifier = nn.ModuleList([self._linear(self.dims[owner], self.width, draw)])
        if self.settings.shared_head == "none":
            classifier.append(self._linear(self.width, self.classes, draw))
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        self.classifiers.append(classifier.to(device).requires_grad_(trained))
        self.owners.append(owner)

    def each(self, name: str, feature: Tensor) -> list[Tensor]:
        """Logits [B, K] of every classifier of a modality on its feature [B, d_m], oldest first."""
        found = []
        for owner, layers in zip(self.owners, cast(list[nn.ModuleList], list(self.classifiers)), strict=True):
            if owner == name:
                last = layers[1] if len(layers) == 2 else self.layer2["all" if "all" in self.layer2 else name]
                found.append(last(functional.relu(layers[0](feature))))
        return found

    def readout(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: torch.stack(self.each(name, features[name])).sum(0) for name in self.dims}


class AUG(Method[AUGSettings]):
    """Each modality's boosting loss; every t_N epochs the weakest modality gets one more classifier. Predictions are
    the merged heads'.
    """

    paper = "arXiv 2502.20120"

    def __init__(self, model: MultimodalModel, settings: AUGSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        assert isinstance(model.fusion, BoostedHeads)
        self.interval = settings.interval or max(1, round(task.epochs / 10))
        self._waiting: list[str] = []
        self._scores = torch.zeros(len(model.modalities) + 1, dtype=torch.float64)

    @property
    def heads(self) -> BoostedHeads:
        """What the model has in place of a fused head."""
        return cast(BoostedHeads, self.model.fusion)

    @classmethod
    def adapt(cls, model: MultimodalModel, settings: AUGSettings, structure: dict[str, Any]) -> MultimodalModel:
        dims, classes = model.fusion.dims, model.fusion.classes
        model.fusion = BoostedHeads(dims, classes, settings, structure.get("classifiers", list(dims)))
        return model

    def structure(self) -> dict[str, Any]:
        return {"classifiers": list(self.heads.owners)}

    def extra(self) -> dict[str, Any]:
        return {**self.structure(), "waiting": self._waiting}

    def load_extra(self, state: dict[str, Any]) -> None:
        for owner in state["classifiers"][len(self.heads.owners) :]:
            self.heads.add(owner, trained=self.settings.added == "trained")
        self._waiting = state["waiting"]

    def begin_epoch(self, epoch: int, trainer: Trainer) -> None:
        # Not at the end of the last one: what is measured and exported there has no classifier that was never trained.
        for owner in self._waiting:
            self.heads.add(
                owner,
                generator(self.task.seed, "aug", len(self.heads.owners)),
                trained=self.settings.added == "trained",
            )
        self._waiting = []
        self._scores = torch.zeros_like(self._scores, device=trainer.device)

    def forward(self, batch: Batch, modality: str | None = None) -> Step:
        """The sum of the modalities' losses, or one modality's; logits are their part of the merged ones."""
        losses, merged = [], []
        for index, name in enumerate(self.model.modalities):
            if modality in (None, name):
                each = self.heads.each(name, self.model.encoders[name](batch.inputs[name]))
                losses.append(
                    boosting_loss(each, batch.labels, self.settings.lambda_residual, self.settings.residual == "merged")
                )
                total = torch.stack(each).sum(0).detach()
                merged.append(self.heads.merge[name] * total)
                self._scores[index] += total.float().softmax(1).gather(1, batch.labels[:, None]).sum()
        self._scores[-1] += len(batch.labels) * len(losses) / len(self.model.modalities)
        return Step(torch.stack(losses).sum(), torch.stack(merged).sum(0), {})

    def training_step(self, batch: Batch, trainer: Trainer) -> Step:
        if self.settings.step == "together":
            return super().training_step(batch, trainer)
        steps: list[Step] = []
        for name in self.model.modalities:  # each with its own pass, so that DDP sees one backward pass a forward pass
            steps.append(trainer.module(batch, name))
            trainer.optimize(steps[-1].loss)
        return Step(
            torch.stack([step.loss.detach() for step in steps]).sum(),
            torch.stack([step.logits for step in steps]).sum(0),
            {},
        )

    def end_epoch(self, epoch: int, trainer: Trainer) -> dict[str, float]:
        *scores, seen = trainer.total(self._scores).tolist()
        means = {name: score / seen for name, score in zip(self.model.modalities, scores, strict=True)}
        if (epoch + 1) % self.interval == 0 or (epoch == 0 and self.settings.check_first):
            self._waiting = assigned(means, self.settings)
        counts = {f"{name}/classifiers": float(self.heads.owners.count(name)) for name in means}
        return {f"{name}/score": score for name, score in means.items()} | counts


def boosting_loss(each: list[Tensor], labels: Tensor, weight: float, merged: bool = False) -> Tensor:
    """L^m of a modality's classifiers: newest on its residual label, all together, all but the newest;
    one classifier: cross entropy.

    The residual label is y - weight * sum_{j<t} y p_j, of which only the true class's entry differs from y;
    p_j is a constant.

    Args:
        each: logits [B, K] of classifiers 1 to t.
        labels: [B].
        weight: lambda.
        merged: the released code's y - weight * y softmax(sum_{j<t} logits_j).
    """
    if len(each) == 1:
        return functional.cross_entropy(each[0], labels)
    earlier = torch.stack(each[:-1]).sum(0)
    with torch.no_grad():
        known = earlier.softmax(1) if merged else torch.stack([logits.softmax(1) for logits in each[:-1]]).sum(0)
        # Below 0 the loss would reward a wrong answer without bound.
        left = (1 - weight * known.gather(1, labels[:, None])[:, 0]).clamp_min(0)
    newest = (left * functional.cross_entropy(each[-1], labels, reduction="none")).mean()
    return newest + functional.cross_entropy(earlier + each[-1], labels) + functional.cross_entropy(earlier, labels)


def assigned(scores: dict[str, float], settings: AUGSettings) -> list[str]:
    """Modalities that get one more classifier, by mean true-class probabilities s^m (adaptive classifier assignment).

    `difference`: the weakest, if the strongest's s - sigma * its s > tau. `ratio`: the released code's; with two
    modalities the second if s^1/s^2 > sigma + tau, the first if it is < sigma - tau, with more of them each whose s /
    sum of the others is below `threshold`.
    """
    names = list(scores)
    if settings.score == "difference":
        weakest = min(names, key=lambda name: scores[name])
        return [weakest] if max(scores.values()) - settings.sigma * scores[weakest] > settings.tau else []
    if len(names) == 2:
        ratio = scores[names[0]] / max(scores[names[1]], 1e-12)
        return (
            [names[1]]
            if ratio > settings.sigma + settings.tau
            else [names[0]]
            if ratio < settings.sigma - settings.tau
            else []
        )
    return [name for name in names if scores[name] < settings.threshold * (sum(scores.values()) - scores[name])]
