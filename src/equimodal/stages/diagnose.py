"""A model of this project diagnosed on its own held-out data; for people, no engine calls it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from equimodal.diagnosis.diagnose import diagnose
from equimodal.diagnosis.report import Diagnosis
from equimodal.engines.layout import manifest_path
from equimodal.errors import UserError
from equimodal.inference.model import load, model_files, summary
from equimodal.models.framework import MultimodalModel, pooled_features
from equimodal.models.fusion import Concat
from equimodal.models.padded import Input
from equimodal.store import read_manifest
from equimodal.training.data import DataModule, open_data


class Exposed(nn.Module):
    """A model whose pooled block outputs pass through submodules of their own, `taps.MODALITY.DEPTH` (from 0), which
    hooks can read and change; the same logits, by the head's rule of prediction.
    """

    def __init__(self, model: MultimodalModel) -> None:
        super().__init__()
        self.model = model
        self.taps = nn.ModuleDict(
            {name: nn.ModuleList([nn.Identity() for _ in encoder.blocks]) for name, encoder in model.encoders.items()}  # type: ignore[union-attr,arg-type]
        )

    def forward(self, inputs: dict[str, Input]) -> Tensor:
        stages = self.model.encode(inputs)
        features = pooled_features(stages)
        for name, line in stages.items():
            taps = self.taps[name]
            assert isinstance(taps, nn.ModuleList)
            for tap, stage in zip(taps[:-1], line[:-1], strict=True):
                tap(stage.pooled)
            features[name] = taps[-1](features[name])
        return self.model.fusion.predict(features)  # type: ignore[operator,no-any-return]

    def layers(self) -> dict[str, list[str]]:
        """Names of the taps, shallow to deep."""
        return {name: [f"taps.{name}.{depth}" for depth in range(len(line))] for name, line in self.taps.items()}  # type: ignore[arg-type]


class Batches:
    """Evaluation batches of a split, as often as they are asked for."""

    def __init__(self, data: DataModule, split: Any, size: int) -> None:
        self._data, self._split, self._size = data, split, size

    def __iter__(self) -> Iterator[tuple[dict[str, Input], Tensor]]:
        return iter(self._data.evaluation_batches(self._split, self._size))


def run(source: Path, split: str, measures: list[str] | str | None, seed: int | None, batch: int) -> Diagnosis:
    """Diagnose a model on a split of the data that it was trained on (the training split left aside): data/D of the
    present folder.

    Args:
        source: a model's file, or a result, of which `seed` says which model (by default its first).
        split: val or test.
        measures: as `equimodal.diagnose` takes them.

    Raises:
        UserError: no such seed, data that are missing or others than the model's, a model of one modality.
    """
    model = load(chosen(source, seed))
    about = model.about
    if len(model.modalities) < 2:
        raise UserError(f"{source} is a model of {model.modalities[0]} alone: there is no balance to diagnose")
    path = manifest_path(about.dataset)
    if not path.is_file():
        raise UserError(f"{path} is missing: run this in the folder where {about.dataset} was prepared, or build it")
    manifest = read_manifest(path)
    if manifest["digest"] != about.data_digest:
        raise UserError(f"{path} describes other data than {source} was trained on: its held-out samples may be others")
    data = open_data(manifest, model.modalities, model.device, "auto")
    exposed = Exposed(model.members[0]).eval()
    layers = exposed.layers()
    fusion = model.members[0].fusion
    report = diagnose(
        exposed,
        Batches(data, split, batch),
        modalities=model.modalities,
        call="dict",
        task=about.task,
        measures=measures,
        encoders={name: line[-1] for name, line in layers.items()},
        layers=layers,
        decision=("model.fusion.linear", dict(fusion.dims)) if type(fusion) is Concat else None,
    )
    other = [advice for advice in report.advice if advice.method != about.method]
    return report.model_copy(update={"model": summary(model), "advice": other})


def chosen(source: Path, seed: int | None) -> Path:
    """The one file of a model, a folder or a result that `seed` says."""
    paths = model_files(source)
    if seed is None:
        return paths[0]
    for path in paths:
        if path.parent.name == str(seed) or path.stem == f"seed-{seed}":
            return path
    raise UserError(f"{source} has no model of seed {seed}")
