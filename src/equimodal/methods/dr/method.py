"""D&R, diagnosing and re-learning: Wei and others, ECCV 2024 (methods.md section 12)."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from equimodal.methods.base import Method, SplitFeatures, Task, Trainer
from equimodal.methods.distributed import average
from equimodal.methods.dr.settings import DRSettings
from equimodal.models.framework import MultimodalModel
from equimodal.seeding import derive, generator

ITERATIONS = 30  # of k-means

Numbers = npt.NDArray[Any]


class DR(Method[DRSettings]):
    """Cross entropy on the fused logits; every `interval` epochs each encoder is pulled towards its start, the further
    the purity of its clusters on training data is from that on validation data.
    """

    paper = "ECCV 2024"

    def __init__(self, model: MultimodalModel, settings: DRSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        self.interval = settings.interval or max(1, round(task.epochs * 20 / 90))
        self._start: dict[str, list[Tensor]] = {}
        self._found: dict[str, float] = {}

    def prepare(self, trainer: Trainer) -> None:
        # On the CPU, since it is wanted a few times in a run. A resumed run starts from the same weights.
        self._start = {
            name: [parameter.detach().cpu().clone() for parameter in encoder.parameters()]
            for name, encoder in self.model.encoders.items()
        }

    def after_evaluation(self, epoch: int, metrics: dict[str, float], trainer: Trainer) -> None:
        due = epoch > 0 and epoch % self.interval == 0 and epoch // self.interval <= self.settings.times
        if not due or self.settings.lam == 0:
            return
        purities = {}
        for split in ("train", "val"):
            purities[split] = self._purities(trainer.features(split), epoch, split)
        gaps = (purities["train"] - purities["val"]).abs()
        # Every process finds the same, but for rounding: encoders must stay alike.
        (pulls,) = average(torch.tanh(self.settings.lam * gaps).to(trainer.device))
        for name, pull in zip(self.model.modalities, pulls.tolist(), strict=True):
            self._pull(name, pull)
        for place, name in enumerate(self.model.modalities):
            self._found |= {f"{name}/purity/{split}": float(found[place]) for split, found in purities.items()}
            self._found[f"{name}/pull"] = float(pulls[place])

    def _purities(self, found: SplitFeatures, epoch: int, split: str) -> Tensor:
        """Purity of the clusters of each modality's features [M], float64."""
        draw = generator(self.task.seed, "dr", epoch, split)
        rows = torch.randperm(len(found.labels), generator=draw)[: self.settings.rows].sort().values
        labels = found.labels.cpu()[rows].numpy()
        purities = []
        for name in self.model.modalities:
            x = scaled(found.features[name].cpu()[rows].double().numpy())
            seed = derive(self.task.seed, "dr", epoch, split, name)
            purities.append(purity(clustered(x, self.task.classes, self.settings.restarts, seed), labels))
        return torch.tensor(purities, dtype=torch.float64)

    @torch.no_grad()
    def _pull(self, name: str, pull: float) -> None:
        """theta <- w theta_0 + (1 - w) theta for the parameters of an encoder; buffers and momentum stay."""
        for parameter, start in zip(self.model.encoders[name].parameters(), self._start[name], strict=True):
            parameter.lerp_(start.to(parameter.device), pull)

    def end_epoch(self, epoch: int, trainer: Trainer) -> dict[str, float]:
        """What the diagnosis before this epoch found."""
        found, self._found = self._found, {}
        return found

    def extra(self) -> dict[str, Any]:
        return {"found": self._found}

    def load_extra(self, state: dict[str, Any]) -> None:
        self._found = state["found"]


def scaled(x: Numbers) -> Numbers:
    """Features [n, d], every dimension stretched to [-1, 1]; one that never changes is 0."""
    low, high = x.min(0), x.max(0)
    spread = np.where(high > low, high - low, 1)
    return np.where(high > low, 2 * (x - low) / spread - 1, 0)


def clustered(x: Numbers, clusters: int, restarts: int, seed: int) -> Numbers:
    """Cluster [n] of every row of x [n, d]: k-means++ and Lloyd's iterations, of `restarts` the one with the smallest
    sum of squared distances.
    """
    best, least = np.zeros(len(x), np.int64), np.inf
    for start in np.random.SeedSequence(seed).spawn(restarts):
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # of empty clusters, which purity allows
            warnings.simplefilter("ignore", UserWarning)
            centres, found = kmeans2(x, clusters, ITERATIONS, minit="++", rng=np.random.default_rng(start))
        distance = float(np.square(x - centres[found]).sum())
        if distance < least:
            best, least = found, distance
    return best


def purity(clusters: Numbers, labels: Numbers) -> float:
    """Share of the samples that have the most frequent label of their cluster; clusters and labels [n] from 0."""
    counts = np.zeros((clusters.max() + 1, labels.max() + 1), np.int64)
    np.add.at(counts, (clusters, labels), 1)
    return float(counts.max(1).sum() / len(labels))
