"""Training arrays kept at hand: on the device when they fit, else behind a memory map; the same bytes either way."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from equimodal.errors import UserError
from equimodal.methods.base import Split
from equimodal.methods.class_means import ClassMeans
from equimodal.models.padded import Input, Padded, lengths_mask
from equimodal.objectives import objective_of
from equimodal.progress import watched
from equimodal.settings.training import AugmentSettings
from equimodal.store import file_sha256, open_array
from equimodal.training.transforms import InputTransform

SHARE_OF_FREE_MEMORY = 0.5  # the rest is for activations and other processes


@dataclass(frozen=True)
class Array:
    """One modality's samples [N, ...]: a tensor on the device, or a memory map read batch by batch."""

    data: "Tensor | np.memmap[Any, Any]"
    device: torch.device

    def rows(self, index: Tensor) -> Tensor:
        """Rows `index` (where the data are: on the device, or on the CPU) as a new tensor on the device."""
        if isinstance(self.data, Tensor):
            return self.data.index_select(0, index)
        return _sent(torch.from_numpy(self.data[index.numpy()]), self.device)


def _sent(x: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device; one that is on the CPU goes to a GPU from pinned memory, and nothing waits for it."""
    return x if x.device.type == device.type else x.pin_memory().to(device, non_blocking=True)


class DataModule:
    """The samples of a dataset by split, ready for a model.

    Args:
        manifest: content of data/D/manifest.json.
        modalities: those that the model reads.
        device: where batches are wanted.
        resident: `device` keeps the arrays there, `map` leaves them on disk, `auto` decides by free memory.
    """

    def __init__(
        self, manifest: dict[str, Any], modalities: list[str], device: torch.device, resident: str = "auto"
    ) -> None:
        self.manifest = manifest
        self.device = device
        self.classes: list[str] = manifest["classes"]
        self.modalities = modalities
        self.objective = objective_of(manifest)
        splits = np.array(manifest["splits"])
        self._members = {split: torch.from_numpy(np.flatnonzero(splits == split)) for split in ("train", "val", "test")}
        maps = {name: open_array(manifest["modalities"][name]["path"]) for name in modalities}
        keep = resident == "device" or (
            resident == "auto" and sum(m.nbytes for m in maps.values()) < SHARE_OF_FREE_MEMORY * _free_bytes(device)
        )
        self.resident = keep
        # Samples are looked up where the arrays are, so that a step copies nothing that is there already.
        self._place = device if keep else torch.device("cpu")
        self.labels = torch.tensor(manifest["labels"], dtype=self.objective.label_type, device=self._place)
        self._rows = torch.tensor(manifest["rows"], dtype=torch.int64, device=self._place)
        self._arrays = {
            name: Array(torch.from_numpy(np.array(m)).to(device) if keep else m, device) for name, m in maps.items()
        }
        self.transforms = {name: InputTransform(manifest["modalities"][name], device) for name in modalities}
        lengths = {name: manifest["modalities"][name].get("lengths") for name in modalities}
        self._lengths = {
            name: torch.tensor(found, dtype=torch.int64, device=self._place)
            for name, found in lengths.items()
            if found is not None
        }

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one model input per modality."""
        return {name: transform.shape for name, transform in self.transforms.items()}

    def count(self, split: Split) -> int:
        """Samples of a split."""
        return len(self._members[split])

    def split_labels(self, split: Split) -> Tensor:
        """Labels of a split in its order [n], on the CPU."""
        return self.labels.cpu()[self._members[split]]

    def hold_out(self, share: float, draw: torch.Generator) -> "DataModule":
        """The same data with a share of each class's training samples (grid value's, of a regression) moved to split
        "held-out": at least one sample of a class that has two or more, all but one at most.

        Args:
            share: of the training split, in (0, 1).
            draw: CPU generator of the choice.

        Raises:
            UserError: no class has two training samples.
        """
        train = self._members["train"]
        classes = self.objective.class_ids(self.split_labels("train"))
        held = torch.zeros(len(train), dtype=torch.bool)
        for number in range(self.objective.classes):
            own = (classes == number).nonzero().flatten()
            if len(own) > 1:
                count = min(max(1, round(share * len(own))), len(own) - 1)
                held[own[torch.randperm(len(own), generator=draw)[:count]]] = True
        if not bool(held.any()):
            raise UserError("no class has two training samples: nothing can be held out of training")
        other = copy.copy(self)
        other._members = {**self._members, "train": train[~held], "held-out": train[held]}
        return other

    def evaluation_batches(self, split: Split, size: int) -> Iterator[tuple[dict[str, Input], Tensor]]:
        """(inputs, labels) in order, evaluation transforms, no randomness."""
        for chunk in self._members[split].to(self._place).split(size):
            inputs = {name: self.transforms[name].evaluate(self._stored(name, chunk)) for name in self.modalities}
            yield inputs, self._targets(chunk)

    def steps(self, batch_size: int) -> int:
        """Batches of a training epoch."""
        full, rest = divmod(self.count("train"), batch_size)
        return full + (rest >= 2)

    def training_batches(
        self,
        batch_size: int,
        shuffle: torch.Generator,
        draw: torch.Generator,
        augment: AugmentSettings,
        share: slice = slice(None),
    ) -> Iterator[tuple[dict[str, Input], Tensor]]:
        """(inputs, labels) in random order, augmented.

        A last batch of a single sample is left out: batch statistics need two.

        Args:
            shuffle: CPU generator of the order.
            draw: generator of the augmentation, on the device.
            augment: settings.
            share: which of the epoch's batches this process takes.
        """
        members = self._members["train"]
        order = members[torch.randperm(len(members), generator=shuffle)].to(self._place)  # an epoch's one copy of it
        most = max((transform.pick or 0 for transform in self.transforms.values()), default=0)
        for chunk in order.split(batch_size)[: self.steps(batch_size)][share]:
            # One draw per sample for all pictures and flow
            flips = torch.rand(len(chunk), generator=draw, device=draw.device) < 0.5
            # One draw per sample for frames and flow, which stay together; none where all frames are taken.
            picks = torch.rand(len(chunk), most, generator=draw, device=draw.device) if most else None
            inputs = {}
            for name in self.modalities:
                inputs[name] = self.transforms[name].augment(self._stored(name, chunk), flips, draw, augment, picks)
            yield inputs, self._targets(chunk)

    def _targets(self, samples: Tensor) -> Tensor:
        """Labels of some samples, on the device."""
        return _sent(self.labels.index_select(0, samples), self.device)

    def _stored(self, modality: str, samples: Tensor) -> Input:
        """One modality of some samples as it is stored; sequences with the mask that their lengths give."""
        rows = self._rows.index_select(0, samples)
        values = self._arrays[modality].rows(rows)
        if modality not in self._lengths:
            return values
        lengths = _sent(self._lengths[modality].index_select(0, rows), self.device)
        return Padded(values, lengths_mask(lengths, values.shape[1]))

    def class_means(self, size: int = 256) -> dict[str, Input]:
        """Mean evaluation input of every class (grid value of a regression, weighted by membership) over the training
        split: {m: [K, ...]}.

        Xbar of aim.md Eq. 4, summed in float64.
        """
        means = ClassMeans(self.objective, torch.float64)
        batches = self.evaluation_batches("train", size)
        for inputs, labels in watched(batches, math.ceil(self.count("train") / size), "class means", "batches"):
            means.add(inputs, labels)
        return pytree.tree_map_only(
            torch.Tensor, lambda mean: mean.float() if mean.is_floating_point() else mean, means.result()
        )


def open_data(
    manifest: dict[str, Any], modalities: list[str] | None, device: torch.device, resident: str
) -> DataModule:
    """The data of a manifest (content of data/D/manifest.json), once its arrays are seen to be those that it describes.

    Args:
        modalities: those that the model reads; None: all.
        device, resident: as `DataModule` takes them.

    Raises:
        UserError: an array of another shape, of sequences of other lengths, or of another content, than the manifest
            says.
    """
    names = list(manifest["modalities"]) if modalities is None else modalities
    for name in names:
        entry = manifest["modalities"][name]
        shape = open_array(entry["path"]).shape
        if list(shape[1:]) != list(entry["shape"]):
            raise UserError(
                f"{entry['path']} has rows of shape {list(shape[1:])}, the manifest says {entry['shape']}:"
                " rebuild it (snakemake -R features)"
            )
        if entry["kind"] == "sequence":
            _check_lengths(entry, shape[0])
    data = DataModule(manifest, names, device, resident)
    for name in names:
        check_content(manifest["modalities"][name], every_time=data.resident)
    return data


# Arrays found to be whole: an empty file each, named after what was seen of them.
SEEN = Path(".checkpoints/verified")


def check_content(entry: dict[str, Any], every_time: bool) -> None:
    """Compare an array's file with its sha256 in the manifest (0.8 s for a GB).

    Args:
        entry: of one modality in the manifest.
        every_time: False: once for a file of this size, time of change and place on the disk. An array behind a memory
            map may have hundreds of GB, which a stage that reads a part of it shall not read whole.

    Raises:
        UserError: another checksum.
    """
    path = Path(entry["path"])
    stat = path.stat()
    seen = SEEN / f"{entry['sha256'][:16]}-{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"
    if not every_time and seen.exists():
        return
    if file_sha256(path) != entry["sha256"]:
        raise UserError(
            f"{path} is damaged, its content is not what the manifest's checksum says: build it again"
            " (snakemake -R features)"
        )
    if not every_time:
        SEEN.mkdir(parents=True, exist_ok=True)
        seen.touch()


def _check_lengths(entry: dict[str, Any], rows: int) -> None:
    lengths, longest = entry.get("lengths", []), entry["shape"][0]
    if len(lengths) != rows or not all(0 <= length <= longest for length in lengths):
        raise UserError(
            f"{entry['path']} has {rows} sequences of at most {longest} steps; the manifest's lengths"
            f" ({len(lengths)}, up to {max(lengths, default=0)})"
            " are not theirs: rebuild it (snakemake -R manifest)"
        )


def _free_bytes(device: torch.device) -> int:
    """Free memory of the device in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available
