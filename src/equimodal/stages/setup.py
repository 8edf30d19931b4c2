"""From settings to the objects that a stage trains or evaluates: data, model, method, and the key of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from equimodal.engines.declarations import RUNTIME
from equimodal.engines.layout import manifest_path, weights_path
from equimodal.inference.description import described
from equimodal.methods.base import Method, Task
from equimodal.models.framework import MultimodalModel
from equimodal.models.padded import Input, blank
from equimodal.models.pretrained import Pretrained
from equimodal.params import Params, ResolvedMethod
from equimodal.seeding import derive
from equimodal.store import digest, file_sha256, read_manifest
from equimodal.training.building import method_model
from equimodal.training.data import DataModule, open_data
from equimodal.training.device import make_deterministic, pick_device


@dataclass(frozen=True)
class Setup:
    """What a stage of one (dataset, method, seed) works with."""

    params: Params
    dataset: str
    resolved: ResolvedMethod
    seed: int
    kind: type[Method[Any]]
    data: DataModule
    pretrained: Pretrained | None = None

    @classmethod
    def open(
        cls, params: Params, dataset: str, method: str, seed: int, kind: type[Method[Any]] | None = None
    ) -> "Setup":
        """Load the data that the method's modalities need. `kind` is another class than the method's own (a warm-up
        trains jointly).
        """
        make_deterministic(params.runtime)
        resolved = params.method(dataset, method)
        kind = kind or resolved.entry.load()
        manifest = read_manifest(manifest_path(dataset))
        names = kind.modalities(resolved.settings, manifest["modalities"])
        start = params.weights_of(dataset)
        pretrained = None if start is None else Pretrained.read(weights_path(dataset), start.modalities)
        data = open_data(manifest, names, pick_device(params.runtime), params.runtime.resident)
        return cls(params, dataset, resolved, seed, kind, data, pretrained)

    @property
    def epochs(self) -> int:
        """Of the run."""
        return self.kind.run_epochs(self.resolved.settings, self.params.training_of(self.dataset).epochs)

    def model(self, structure: dict[str, Any] | None = None) -> MultimodalModel:
        """The model, initialised from the run's seed: the same start for every method of the same modalities."""
        torch.manual_seed(derive(self.seed, "init"))
        built = method_model(
            (self.kind, self.resolved.settings),
            self.data.transforms,
            self.data.objective,
            self.params.model_of(self.dataset),
            self.params.runtime.channels_last,
            structure or {},
            self.pretrained,
        )
        return built.to(self.data.device)

    def method(self, means: dict[str, Input] | None = None) -> Method[Any]:
        """The method around a fresh model.

        Args:
            means: what stands for the mean inputs of the classes; None: a pass over the data finds them.
        """
        training = self.params.training_of(self.dataset)
        means = (means or self.data.class_means()) if self.kind.needs_class_means else None
        task = Task(self.data.objective, self.epochs, self.data.steps(training.batch_size), self.seed, means)
        return self.kind(self.model(), self.resolved.settings, task).to(self.data.device)

    def blank_means(self) -> dict[str, Input]:
        """What stands for the class means where values do not matter."""
        return {m: blank(self.data.objective.classes, s, self.data.device) for m, s in self.data.shapes.items()}

    def slices(self, stage: str) -> dict[str, Any]:
        """The settings that determine a run's numbers; of a shared stage, only what its sharers have in common (see
        declarations.settings).
        """
        if stage == "warmup":
            settings = {"start_epoch": self.resolved.warm.start_epoch}
        else:
            settings = self.resolved.warm.fit if stage == "prototypes" else self.resolved.settings.slice()
        runtime = self.params.runtime.slice()
        model = self.params.model_slice(self.dataset)
        if self.pretrained is not None:
            model["weights"] |= {"sha256": self.pretrained.sha256}
        return {
            "model": model,
            "training": self.params.training_of(self.dataset).slice(),
            "method": {"name": self.resolved.name, "kind": self.resolved.kind, **settings},
            "runtime": {key: runtime[key] for key in RUNTIME},
        }

    def key(self, stage: str, inputs: list[Path] | None = None) -> str:
        """Digest of all that determines a stage's outputs but the code: settings, seed, data, input files."""
        read = {str(path): file_sha256(path) for path in inputs or []}
        return digest(
            {
                "stage": stage,
                "seed": self.seed,
                "data": self.data.manifest["digest"],
                "inputs": read,
                **self.slices(stage),
            }
        )

    def meta(self, stage: str, key: str) -> dict[str, Any]:
        """What a run's files say about it; also its identity for MLflow."""
        return {
            "dataset": self.dataset,
            "method": self.resolved.name,
            "seed": self.seed,
            "stage": stage,
            "key": key,
            "source": self.data.manifest["source"],
            "data_digest": self.data.manifest["digest"],
            "settings": self.slices(stage),
        }

    def about(self) -> dict[str, Any]:
        """What the run's weights say of themselves, so that they can be used without params.yaml."""
        return described(
            self.data.manifest,
            self.data.modalities,
            self.params.dataset(self.dataset).missing,
            {**self.params.model_of(self.dataset).slice(), "weights": None, "weights_for": None},
            self.params.runtime.channels_last,
            (self.resolved.name, self.resolved.kind, self.resolved.settings.slice()),
            self.seed,
        )


def load_data(dataset: str, modalities: list[str] | None, device: torch.device, resident: str) -> DataModule:
    """`open_data` of data/{dataset}/manifest.json."""
    return open_data(read_manifest(manifest_path(dataset)), modalities, device, resident)
