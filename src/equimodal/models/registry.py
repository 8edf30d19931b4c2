"""The encoders: name -> where it is, the kinds of features it reads, its keys of `model`. One line per encoder; nothing
here imports torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from equimodal.errors import UserError

if TYPE_CHECKING:
    from equimodal.models.encoder import Encoder


@dataclass(frozen=True)
class Entry:
    """`target` is module:class below equimodal.models; `kinds` of features it reads; `keys` of `model` that set it."""

    target: str
    kinds: tuple[str, ...]
    keys: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Full module name."""
        return f"equimodal.models.{self.target.partition(':')[0]}"

    def load(self) -> "type[Encoder]":
        """Import the encoder's class (imports torch)."""
        return getattr(import_module(self.module), self.target.partition(":")[2])


# A kind of feature gets the first encoder that reads it, unless model.encoders names another.
ENCODERS: dict[str, Entry] = {
    "resnet": Entry(
        "resnet:ResNet", ("spectrogram", "frames", "flow"), ("width", "layers", "frames", "stem_stride", "stem_pool")
    ),
    "transformer": Entry("transformer:Transformer", ("sequence",), ("transformer",)),
    "mlp": Entry("mlp:MLP", ("vector",), ("mlp",)),
}

KIND_OF_RANK = {1: "vector", 2: "sequence", 3: "spectrogram", 4: "frames"}
"""The kind of feature that a model input's shape says it is: (W), (L, W), (C, F, T), (C, T, H, W)."""


def choose(kinds: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """The encoder of each modality.

    Args:
        kinds: modality -> kind of feature.
        wanted: modality -> encoder, as `model.encoders` gives it;
            modalities that are not in `kinds` are another dataset's.

    Raises:
        UserError: an unknown encoder, or one that does not read that kind of feature.
    """
    for modality, name in wanted.items():
        if name not in ENCODERS:
            raise UserError(
                f"params.yaml: model.encoders.{modality} = '{name}' is an unknown encoder; valid: {', '.join(ENCODERS)}"
            )
    chosen = {}
    for modality, kind in kinds.items():
        readers = [name for name, entry in ENCODERS.items() if kind in entry.kinds]
        name = wanted.get(modality, readers[0])
        if name not in readers:
            raise UserError(
                f"params.yaml: model.encoders.{modality} = '{name}' does not read features of kind {kind};"
                f" these do: {', '.join(readers)}"
            )
        chosen[modality] = name
    return chosen


def used_settings(values: dict[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Of the section `model` what a dataset's models are made by: no keys of encoders that it does not use, nothing
    that is null or empty.

    So a result does not depend on an encoder that it does without,
    and a new encoder's settings leave older results as they are.

    Args:
        values: the section, resolved.
        kinds: modality -> kind of feature.
    """
    defaults, chosen = choose(kinds, {}), choose(kinds, values["encoders"])
    used = {key for name in chosen.values() for key in ENCODERS[name].keys}
    owned = {key for entry in ENCODERS.values() for key in entry.keys}
    other = {modality: name for modality, name in chosen.items() if name != defaults[modality]}
    kept = {key: value for key, value in values.items() if key in used or key not in owned}
    return {key: value for key, value in {**kept, "encoders": other}.items() if value is not None and value != {}}
