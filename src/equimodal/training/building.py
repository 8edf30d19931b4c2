"""A method's model: built for the inputs of its data, and given the weights of a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from equimodal.errors import UserError
from equimodal.methods.base import Method
from equimodal.models.framework import MultimodalModel, build_model
from equimodal.models.pretrained import Pretrained
from equimodal.objectives import Objective
from equimodal.settings.training import ModelSettings
from equimodal.training.transforms import InputTransform


def method_model(
    method: tuple[type[Method[Any]], Any],
    transforms: Mapping[str, InputTransform],
    objective: Objective,
    settings: ModelSettings,
    channels_last: bool,
    structure: dict[str, Any],
    pretrained: Pretrained | None = None,
) -> MultimodalModel:
    """The model of a method as the method changes it, initialised from the global torch generator, on the CPU.

    Args:
        method: its class and its settings.
        transforms: of the modalities that the model reads, in its order.
        structure: what the method said of a saved model, {} of a fresh one (`Method.adapt`).
        pretrained: weights that encoders start from.
    """
    fresh = build_model(
        {name: transform.shape for name, transform in transforms.items()},
        objective.outputs,
        settings,
        channels_last,
        objective.task == "regression",
        {name: transform.kind for name, transform in transforms.items()},
    )
    if pretrained is not None:
        pretrained.load(fresh)
    kind, own = method
    return kind.adapt(fresh, own, structure)


def load_weights(model: MultimodalModel, tensors: Mapping[str, Tensor], path: Path, described: str, again: str) -> None:
    """Give a model the weights of a file.

    Args:
        path: the file.
        described: what describes the model that the weights do not fit, for the message.
        again: what to do then.

    Raises:
        UserError: weights of another model.
    """
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[1 if "\n" in str(error) else 0].strip()
        raise UserError(f"{path} does not fit the model that {described} ({first}): {again}") from None
