"""Trained models, loaded from what their files say of themselves."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from equimodal.errors import UserError
from equimodal.inference.clips import Clip, given
from equimodal.inference.description import Description, read
from equimodal.inference.predictions import Predictions
from equimodal.inference.stored import Rejected, Stored, row_bytes, stored
from equimodal.methods.registry import METHODS
from equimodal.models.framework import MultimodalModel, pooled_features
from equimodal.models.padded import Input, Padded, lengths_mask
from equimodal.objectives import objective_of
from equimodal.progress import watched
from equimodal.report.result import Result
from equimodal.settings.training import ModelSettings
from equimodal.training.building import load_weights, method_model
from equimodal.training.transforms import InputTransform

BATCH = 64
READ_BYTES = 256 << 20  # of clips' rows that are in memory at once
QUOTED = 3  # rejected clips in a message


class ClipsRejected(UserError):
    """Some clips could not be read; `rejected` has all of them with the reasons."""

    def __init__(self, rejected: list[Rejected], total: int) -> None:
        shown = "; ".join(f"{gone.clip.id}: {gone.modality}: {gone.reason}" for gone in rejected[:QUOTED])
        more = f"; and {len(rejected) - QUOTED} more" if len(rejected) > QUOTED else ""
        super().__init__(f"{len(rejected)} of {total} clips cannot be read ({shown}{more})")
        self.rejected = rejected


class TrainedModel:
    """One trained model, or several seeds of one result, whose probabilities are averaged.

    Args:
        about: what the models have in common (and the first one's seed and epoch).
        members: the models, on one device, in evaluation mode.
        seeds, files: of the members.
    """

    def __init__(self, about: Description, members: list[MultimodalModel], seeds: list[int], files: list[Path]) -> None:
        self.about = about
        self.members = members
        self.seeds = seeds
        self.files = files
        self.objective = objective_of(about.model_dump())
        self.device = next(members[0].parameters()).device
        self.transforms = {entry.name: InputTransform(entry.model_dump(), self.device) for entry in about.inputs}

    @property
    def modalities(self) -> list[str]:
        """Names, in the model's order."""
        return self.about.modalities

    @property
    def classes(self) -> list[str]:
        """Names in the order of the probabilities; empty in a regression."""
        return list(self.about.classes) if self.about.task == "classification" else []

    def predict(self, clips: Any) -> list[Any]:
        """The class (in a regression the number) of every clip, in order.

        Args:
            clips: one or several: a media file, {modality: file or array}, or a `Clip`. An array is a row as
                data/D/features/m.npy holds it; of sequences [steps, width].

        Raises:
            ClipsRejected: clips that cannot be read; `predictions` goes on without them.
        """
        return self._all(clips).labels

    def predict_proba(self, clips: Any) -> "np.ndarray[Any, Any]":
        """Probabilities [n, K], as `predict` takes and raises; a UserError in a regression."""
        if not self.classes:
            raise UserError("a regression predicts numbers and has no probabilities: use predict")
        return self._all(clips).fused

    def predictions(self, clips: Any, workers: int = 1, batch: int = BATCH, progress: bool = False) -> Predictions:
        """All that is said of clips, and which could not be read.

        Args:
            clips: as `predict` takes them.
            workers: processes that decode media; no effect on what comes out.
            batch: clips in a forward pass.
            progress: show on stderr how far it is.
        """
        wanted = given(clips, self.about)
        fused: list[np.ndarray[Any, Any]] = []
        alone: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in self.modalities}
        kept: list[Clip] = []
        rejected: list[Rejected] = []
        filled: dict[str, int] = {}
        for found in self._read(wanted, workers):
            kept += found.clips
            rejected += found.rejected
            for name, count in found.filled.items():
                filled[name] = filled.get(name, 0) + count
            steps = -(-len(found.clips) // batch)
            for inputs in watched(self._batches(found, batch), steps, "predictions", "batches", progress and steps > 1):
                together, apart = self._scores(inputs)
                fused.append(together)
                for name, scores in apart.items():
                    alone[name].append(scores)
        empty = np.zeros((0, len(self.classes)) if self.classes else (0,))
        return Predictions(
            kept,
            self.classes,
            np.concatenate([empty, *fused]),
            {name: np.concatenate([empty, *scores]) for name, scores in alone.items()},
            rejected,
            filled,
        )

    def features(self, clips: Any, workers: int = 1, batch: int = BATCH) -> dict[str, "np.ndarray[Any, Any]"]:
        """Pooled features z^m {m: [n, d_m]}, as `predict` takes and raises.

        Raises:
            UserError: several seeds: their features have nothing in common.
        """
        if len(self.members) > 1:
            raise UserError(
                f"{len(self.members)} seeds have features of their own: load one of them"
                f" (models/{self.about.dataset}/{self.about.method}/{self.seeds[0]}/val.safetensors)"
            )
        wanted = given(clips, self.about)
        parts: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in self.modalities}
        for found in self._read(wanted, workers):
            self._whole(found.rejected, len(wanted))
            for inputs in self._batches(found, batch):
                with torch.no_grad():
                    pooled = pooled_features(self.members[0].encode(inputs))
                for name, values in pooled.items():
                    parts[name].append(values.float().cpu().numpy())
        return {name: np.concatenate(values) for name, values in parts.items()}

    def _all(self, clips: Any) -> Predictions:
        found = self.predictions(clips)
        self._whole(found.rejected, len(found.clips) + len(found.rejected))
        return found

    @staticmethod
    def _whole(rejected: list[Rejected], total: int) -> None:
        if rejected:
            raise ClipsRejected(rejected, total)

    def _read(self, clips: Sequence[Clip], workers: int) -> Iterator[Stored]:
        """The clips in parts that fit in memory."""
        part = max(1, READ_BYTES // row_bytes(self.about))
        for begin in range(0, len(clips), part):
            yield stored(clips[begin : begin + part], self.about, workers)

    def _batches(self, found: Stored, size: int) -> Iterator[dict[str, Input]]:
        for begin in range(0, len(found.clips), size):
            some = slice(begin, begin + size)
            inputs: dict[str, Input] = {}
            for name, values in found.rows.items():
                rows = torch.from_numpy(values[some]).to(self.device)
                if name in found.lengths:
                    steps = torch.tensor(found.lengths[name][some], device=self.device)
                    inputs[name] = self.transforms[name].evaluate(Padded(rows, lengths_mask(steps, rows.shape[1])))
                else:
                    inputs[name] = self.transforms[name].evaluate(rows)
            yield inputs

    @torch.no_grad()
    def _scores(self, inputs: dict[str, Input]) -> tuple["np.ndarray[Any, Any]", dict[str, "np.ndarray[Any, Any]"]]:
        """Probabilities (numbers) of a batch, fused and of each modality alone; the mean over the members."""
        fused, alone = [], []
        for model in self.members:
            outputs = model.predict(inputs)
            fused.append(self.objective.scores(outputs.logits))
            readouts = model.readout(outputs.features)
            alone.append({name: self.objective.scores(readouts[name]) for name in self.modalities})
        return _mean(fused), {name: _mean([each[name] for each in alone]) for name in self.modalities}


def _mean(parts: list[Tensor]) -> "np.ndarray[Any, Any]":
    return np.asarray(torch.stack(parts).mean(0).numpy())


def load(source: str | os.PathLike[str], device: str | torch.device = "cpu") -> TrainedModel:
    """A trained model from its file, an exported folder, or all seeds of a result (results/D_M.json).

    No params.yaml is read, and nothing in the file is executed (safetensors).

    Raises:
        UserError: missing, damaged, of an older version, no model's; seeds of a result that differ in more than the
            seed.
    """
    paths = model_files(source)
    where = torch.device(device)
    found = [read(each) for each in paths]
    first = found[0][0]
    for each, (about, _) in zip(paths, found, strict=True):
        changed = {"seed": first.seed, "epoch": first.epoch, "structure": first.structure}
        if about.model_copy(update=changed) != first:
            raise UserError(f"{each} is of other data or settings than {paths[0]}: they are no seeds of one result")
    members = [_built(about, tensors, each).to(where) for each, (about, tensors) in zip(paths, found, strict=True)]
    return TrainedModel(first, members, [about.seed for about, _ in found], paths)


def model_files(source: str | os.PathLike[str]) -> list[Path]:
    """The files of weights that `load` takes."""
    path = Path(source)
    if path.is_dir():
        paths = sorted(path.glob("*.safetensors"))
        if not paths:
            raise UserError(f"{path} holds no .safetensors file: give a model's file, or its exported folder")
        if len(paths) > 1 and (path / "val.safetensors").is_file():
            paths = [path / "val.safetensors"]  # a folder of models/: the weights chosen on validation
    elif path.suffix == ".json":
        paths = _of_result(path)
    else:
        paths = [path]
    return paths


def _of_result(path: Path) -> list[Path]:
    """The weights of a result's seeds, chosen on validation."""
    folders = Result.read(path).model_folders(path).values()
    return [Path(os.path.relpath(folder / "val.safetensors")) for folder in folders]


def _built(about: Description, tensors: dict[str, Tensor], path: Path) -> MultimodalModel:
    """The model that a description describes, with these weights, ready to predict."""
    if about.kind not in METHODS:
        raise UserError(f"{path} was trained by method '{about.kind}', which this equimodal does not have: register it")
    entry = METHODS[about.kind]
    objective = objective_of(about.model_dump())
    transforms = {each.name: InputTransform(each.model_dump(), torch.device("cpu")) for each in about.inputs}
    settings = ModelSettings.read(about.model, f"{path}: model")
    with torch.random.fork_rng(devices=[]):  # building draws weights, which are replaced at once
        method = entry.load(), entry.load_settings().read(about.settings, f"{path}: method")
        model = method_model(method, transforms, objective, settings, about.channels_last, about.structure)
    load_weights(model, tensors, path, "it describes", "it is damaged")
    return model.eval().requires_grad_(False)


def summary(model: TrainedModel) -> str:
    """A model in one line."""
    about, seeds = model.about, model.seeds
    of = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds, averaged"
    sample = ", trained on a GENERATED SAMPLE" if about.source == "sample" else ""
    what = f"{len(about.classes)} classes" if model.classes else "a number"
    return f"{about.method} on {about.dataset} ({of}{sample}): {', '.join(model.modalities)} -> {what}"
