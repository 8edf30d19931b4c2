"""Passes of a loader through a model, each done once whoever asks for it, and counted."""

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from equimodal.diagnosis.changes import FULL, Change, averaged, noisy, zeroed
from equimodal.diagnosis.hooks import Watched, zeroed_outputs
from equimodal.diagnosis.inputs import Batch, Part, Reader, logits_of
from equimodal.diagnosis.seen import Seen
from equimodal.diagnosis.tasks import Kind, Task
from equimodal.errors import UserError
from equimodal.seeding import derive, generator

STILL = 1e-6  # outputs that differ by less of the largest output are the same


@dataclass(frozen=True)
class Pass:
    """What a pass gave.

    Attributes:
        scores: [n], float64, of `Task.scores`.
        moved: [n] bool: the output is not what it is without the change.
        logits: [n, K], float64; None where nobody asked to keep them.
    """

    scores: Tensor
    moved: Tensor
    logits: Tensor | None


class Runner:
    """Passes the loader through the model, changed as asked.

    The first pass is the plain one and is done at once: it also reads the labels, the inputs' means, and the named
    submodules. Use it inside `restored`.

    Args:
        loader: gives the same samples in the same order whenever it is iterated. Loaders that shuffle by torch's global
            generator, or by one in `loader.generator`, do: both are put back before every pass.
        encoders: modality -> submodule whose output is its feature, for `zero-feature`.
        keep: changes whose logits are kept.

    Attributes:
        labels: class ids [n], or the loader's labels [n, ...] of another task.
        passes: forward passes of the loader so far.
    """

    def __init__(
        self,
        model: nn.Module,
        loader: Iterable[Any],
        reader: Reader,
        *,
        task: Kind | None,
        output: Callable[[Any], Tensor] | None,
        encoders: Mapping[str, str],
        watched: Watched,
        device: torch.device | None,
        seed: int,
        keep: Collection[Change] = (),
    ) -> None:
        if isinstance(loader, Iterator):
            raise UserError(
                f"diagnose: the loader is a {type(loader).__name__} that can be iterated once only, and every measure"
                " needs another pass: pass a DataLoader or a list of batches"
            )
        self.model, self._loader, self._reader = model, loader, reader
        self._output, self._encoders = output, encoders
        self._device = device or next((p.device for p in model.parameters()), torch.device("cpu"))
        self._seed = seed
        self._keep = {FULL, *keep}
        own = getattr(loader, "generator", None)
        self._order = (own, own.get_state()) if isinstance(own, torch.Generator) else None
        self.watched = watched
        self.seen = {name: Seen(name, seed) for name in reader.modalities}
        self.passes = 0
        self._done: dict[Change, Pass] = {}
        with watched.entered():
            self.raw, self._given = self._first()
        self.task = Task(task, self.raw, self._given)
        self.labels = self.task.labels(self._given)
        self._largest = float(self.raw.abs().max())
        self._done[FULL] = self._pass(FULL, self.raw)

    @property
    def modalities(self) -> tuple[str, ...]:
        """In the order given."""
        return self._reader.modalities

    @property
    def samples(self) -> int:
        """n."""
        return len(self.labels)

    def run(self, change: Change) -> Pass:
        """The pass with a change; done once."""
        if change not in self._done:
            self._done[change] = self._pass(change, self._through(change))
        return self._done[change]

    def _pass(self, change: Change, raw: Tensor) -> Pass:
        moved = (raw - self.raw).abs().view(len(raw), -1).amax(1) > STILL * self._largest
        kept = self.task.logits(raw) if change in self._keep else None
        return Pass(self.task.scores(raw, self.labels), moved, kept)

    def _first(self) -> tuple[Tensor, Tensor]:
        outputs, labels = [], []
        for batch in self._batches():
            for name, part in batch.parts.items():
                self.seen[name].add(part)
            with self.watched.batch(len(batch)):
                outputs.append(self._forward(batch, batch.parts))
            labels.append(batch.labels.cpu())
        if not outputs:
            raise UserError("diagnose: the loader gives no batch")
        return torch.cat(outputs), torch.cat(labels)

    def _through(self, change: Change) -> Tensor:
        noise = generator(self._seed, "noise", *change.modalities, change.level)
        features = change.kind == "zero-feature"
        outputs, start = [], 0
        with zeroed_outputs(self.model, self._encoders, change.modalities) if features else nullcontext():
            for batch in self._batches():
                if not torch.equal(batch.labels.cpu(), self._given[start : start + len(batch)]):
                    raise UserError(
                        "diagnose: the loader gives other samples, or another order, when iterated again: pass one"
                        " that does not shuffle"
                    )
                parts = dict(batch.parts)
                for name in () if features else change.modalities:
                    parts[name] = self._changed(change, name, batch.parts[name], start, noise)
                outputs.append(self._forward(batch, parts))
                start += len(batch)
        if start != self.samples:
            raise UserError(f"diagnose: the loader gave {self.samples} samples at first and then {start}")
        return torch.cat(outputs)

    def _changed(self, change: Change, name: str, part: Part, start: int, noise: torch.Generator) -> Part:
        if change.kind == "zero":
            return zeroed(part)
        if change.kind == "mean":
            return averaged(part, self.seen[name].means)
        if change.kind == "permute":
            return self.seen[name].swapped(part, start)
        if change.kind == "donor":
            return self.seen[name].donated(part, change.donor)
        return noisy(part, change.level, self.seen[name].deviations, noise)

    def _forward(self, batch: Batch, parts: Mapping[str, Part]) -> Tensor:
        output = logits_of(self._reader.output(self.model, batch, parts), self._output)
        if output.dim() == 0 or len(output) != len(batch):
            raise UserError(
                f"diagnose: the model's output has shape {list(output.shape)} for {len(batch)} samples: pass output="
            )
        return output.detach().float().cpu()

    def _batches(self) -> Iterator[Batch]:
        self.passes += 1
        start = derive(self._seed, "loader")  # the global generators are put back by `restored`
        torch.manual_seed(start)
        np.random.seed(start % 2**32)
        random.seed(start)
        try:
            for batch in self._loader:
                read = self._reader.read(batch)
                yield replace(read, **{key: _moved(getattr(read, key), self._device) for key in ("parts", "inputs")})
        finally:
            if self._order is not None:
                self._order[0].set_state(self._order[1])


def _moved(value: Any, device: torch.device) -> Any:
    return pytree.tree_map_only(Tensor, lambda leaf: leaf.to(device), value)
