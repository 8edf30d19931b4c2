"""What a batch of somebody's loader means: its modalities, its labels, and how the model is called with it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from equimodal.errors import UserError

Key: TypeAlias = str | int
Keys: TypeAlias = Key | Sequence[Key]
Part: TypeAlias = dict[Key, Any]  # what one modality consists of, by key: pytrees of tensors, batch first
Style: TypeAlias = Literal["dict", "keywords", "positional"]
LABELS = ("labels", "label", "targets", "target", "y")


@dataclass(frozen=True)
class Batch:
    """A batch as the model takes it.

    Attributes:
        parts: modality -> its part of the inputs.
        inputs: all inputs by key, in the loader's order; those of no modality reach the model unchanged.
        labels: [B, ...].
        style: how the loader's batch says that the model is called.
    """

    parts: dict[str, Part]
    inputs: Part
    labels: Tensor
    style: Style

    def __len__(self) -> int:
        return len(self.labels)


class Reader:
    """Reads the batches of a loader. What it takes for what:

    - `(inputs, labels)` with inputs a mapping: the model is called with the mapping, or by keywords if `forward` has
      a parameter for each of its keys.
    - `(x_1, ..., x_M, labels)` or `((x_1, ..., x_M), labels)`: the model is called with x_1, ..., x_M.
    - a mapping that holds the labels too: the model is called by keywords, without the labels.

    Args:
        modalities: names, which are keys of the mapping or, in order, the positions; or name -> its key, keys or
            position, for a modality of several inputs (tokens and their mask).
        labels: key or position of the labels; by default one of LABELS in a mapping, the last of a tuple.
        adapter: maps a loader's batch to one of the forms above.
        call: says otherwise how the model is called: "dict", "keywords", "positional", or a function
            (model, inputs {key: value}) -> output.

    Raises:
        UserError: names that cannot be, here; a batch that has another form, in `read`.
    """

    def __init__(
        self,
        modalities: Sequence[str] | Mapping[str, Keys],
        labels: Key | None = None,
        adapter: Callable[[Any], Any] | None = None,
        call: Style | Callable[[nn.Module, Part], Any] | None = None,
    ) -> None:
        if isinstance(modalities, str) or len(set(modalities)) != len(modalities) or len(modalities) < 2:
            raise UserError(f"diagnose: modalities must be two or more different names, not {modalities!r}")
        if isinstance(call, str) and call not in get_args(Style):
            raise UserError(f"diagnose: call={call!r} is none of {', '.join(get_args(Style))}, nor a function")
        self.modalities = tuple(modalities)
        self._keys: dict[str, tuple[Key, ...]] | None = None
        if isinstance(modalities, Mapping):
            self._keys = {name: _tuple(keys) for name, keys in modalities.items()}
        self._labels = labels
        self._adapter = adapter
        self._call = call

    def read(self, batch: Any) -> Batch:
        """A batch of the loader."""
        if self._adapter is not None:
            batch = self._adapter(batch)
        inputs, labels, style = self._split(batch)
        try:
            labels = torch.as_tensor(labels)
        except (TypeError, ValueError, RuntimeError):
            raise UserError(
                f"diagnose: the labels of a batch are {type(labels).__name__}, no tensor: pass labels= (their key or"
                " position) or adapter="
            ) from None
        keys = self._keys
        if keys is None:
            places = list(inputs) if style == "positional" else list(self.modalities)
            keys = {name: (place,) for name, place in zip(self.modalities, places, strict=False)}
        parts = {name: {key: inputs[key] for key in keys.get(name, ()) if key in inputs} for name in self.modalities}
        for name in self.modalities:
            absent = [key for key in keys.get(name, (name,)) if key not in parts[name]]
            if absent:
                known = ", ".join(str(key) for key in inputs)
                raise UserError(
                    f"diagnose: modality {name} is no input of a batch ({absent[0]!r} is none of: {known}): pass"
                    " modalities= as name -> key, or an adapter="
                )
        sizes = {len(leaf) for part in parts.values() for leaf in pytree.tree_leaves(part) if isinstance(leaf, Tensor)}
        if labels.dim() == 0 or sizes != {len(labels)}:
            found = ", ".join(str(size) for size in sorted(sizes)) or "none"
            raise UserError(
                f"diagnose: a batch has labels of shape {list(labels.shape)} and tensors of {found} samples: all must"
                " have the batch first; pass labels= or adapter="
            )
        return Batch(parts, inputs, labels, style)

    def output(self, model: nn.Module, batch: Batch, parts: Mapping[str, Part]) -> Any:
        """What the model gives for a batch with other parts in place of its own."""
        inputs: Part = dict(batch.inputs)  # keeps the order
        for part in parts.values():
            inputs |= part
        if callable(self._call):
            return self._call(model, inputs)
        call = self._call or fitting(model, inputs, batch.style)
        positional, keywords = arguments(inputs, call)
        return model(*positional, **keywords)

    def _split(self, batch: Any) -> tuple[Part, Any, Style]:
        if isinstance(batch, Mapping):
            names = LABELS if self._labels is None else (self._labels,)
            key = next((name for name in names if name in batch), None)
            if key is None:
                raise UserError(
                    f"diagnose: no labels in a batch with the keys {', '.join(map(str, batch))}: pass labels= (their"
                    " key)"
                )
            return {name: value for name, value in batch.items() if name != key}, batch[key], "keywords"
        if not isinstance(batch, tuple | list) or len(batch) < 2:
            raise UserError(
                f"diagnose: a batch is {_described(batch)}, neither a mapping nor a tuple of inputs and labels: pass"
                " adapter="
            )
        place = -1 if self._labels is None else self._labels
        if not isinstance(place, int) or not -len(batch) <= place < len(batch):
            raise UserError(f"diagnose: labels={place!r} is no position in a batch of {len(batch)}")
        labels = batch[place]
        inputs = [value for i, value in enumerate(batch) if i != place % len(batch)]
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            return dict(inputs[0]), labels, "dict"
        if len(inputs) == 1 and isinstance(inputs[0], tuple | list):
            inputs = list(inputs[0])
        return dict(enumerate(inputs)), labels, "positional"


def logits_of(output: Any, choose: Callable[[Any], Tensor] | None = None) -> Tensor:
    """The logits [B, ...] in what a model returns: a tensor, `output.logits`, `output["logits"]`, or the first tensor
    of a tuple; `choose` says otherwise. A UserError if there are none.
    """
    if choose is not None:
        output = choose(output)
    elif isinstance(output, Mapping) and "logits" in output:
        output = output["logits"]
    elif not isinstance(output, Tensor) and isinstance(getattr(output, "logits", None), Tensor):
        output = output.logits
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise UserError(f"diagnose: the model returns {_described(output)} and no logits: pass output= (a function)")
    return output


def _tuple(keys: Keys) -> tuple[Key, ...]:
    return (keys,) if isinstance(keys, str | int) else tuple(keys)


def _described(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def arguments(inputs: Part, style: Style) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a call in that style."""
    if style == "dict":
        return (inputs,), {}
    if style == "keywords":
        return (), {str(key): value for key, value in inputs.items()}
    return tuple(inputs.values()), {}


def fitting(model: nn.Module, inputs: Part, style: Style) -> Style:
    """How `forward` is called: in the batch's style, but by keywords with a mapping whose keys are its parameters.

    Raises:
        UserError: `forward` cannot be called so.
    """
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):  # of a scripted module nothing is known
        return style
    if style == "dict" and all(key in signature.parameters for key in inputs):
        style = "keywords"
    positional, keywords = arguments(inputs, style)
    try:
        signature.bind(*positional, **keywords)
    except TypeError as error:
        raise UserError(
            f"diagnose: {type(model).__name__}.forward cannot be called with a batch's {', '.join(map(str, inputs))} as"
            f" call={style!r} does ({error}): pass another call= ({', '.join(get_args(Style))}, or a function), or"
            " adapter="
        ) from None
    return style
