"""A run's state as tensors and JSON: written each epoch, read to resume, and handed from the warm-up to the methods
that start from it; and the model alone, as it is exported.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equimodal.errors import UserError
from equimodal.methods.base import Method
from equimodal.models.framework import MultimodalModel
from equimodal.store import read_tensors, write_tensors
from equimodal.training.schedule import adopt


def pack(
    method: Method, optimizer: torch.optim.Optimizer, meta: dict[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors of a run, flat, and its JSON-able facts."""
    tensors = {f"module/{name}": value for name, value in method.state_dict().items()}
    groups: dict[str, Any] = {}
    for name, each in {"main": optimizer, **method.optimizers()}.items():
        state = each.state_dict()
        groups[name] = state["param_groups"]
        for index, entry in state["state"].items():
            for key, value in entry.items():
                if value is not None:
                    tensors[f"optimizer/{name}/{index}/{key}"] = torch.as_tensor(value)
    return tensors, {**meta, "optimizers": groups, "extra": method.extra()}


def save(path: Path, method: Method, optimizer: torch.optim.Optimizer, meta: dict[str, Any]) -> None:
    """Write a run's state atomically."""
    write_tensors(path, *pack(method, optimizer, meta))


def export(path: Path, method: Method, meta: dict[str, Any]) -> str:
    """Write the plain model: no trace of the method but what its structure needs. Returns the file's sha256."""
    own = {"modalities": method.model.modalities, "structure": method.structure()}
    return write_tensors(path, method.model.state_dict(), {**meta, **own}, sealed=False)


def restore(tensors: dict[str, Tensor], meta: dict[str, Any], method: Method, optimizer: torch.optim.Optimizer) -> None:
    """Load a state, as read, that the same method wrote. Bit-identical to never having stopped."""
    method.load_extra(meta["extra"])
    adopt(optimizer, method.main_parameters())
    method.load_state_dict(
        {name.removeprefix("module/"): value for name, value in tensors.items() if name.startswith("module/")}
    )
    for name, each in {"main": optimizer, **method.optimizers()}.items():
        _load_optimizer(each, tensors, f"optimizer/{name}/", meta["optimizers"][name])


def start_from(path: Path, method: Method, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Begin where a joint warm-up ended: its weights and its optimizer's state; what the method adds keeps its own
    start. Returns its meta.
    """
    tensors, meta = read_tensors(path)
    load_warmup(path, tensors, meta, method.model)
    _load_optimizer(optimizer, tensors, "optimizer/main/", meta["optimizers"]["main"])
    return meta


def model_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a run's tensors the framework's own state."""
    prefix = "module/model."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def load_warmup(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any], model: MultimodalModel) -> None:
    """Put a joint warm-up's weights into a model.

    Raises:
        UserError: of modalities in another order.
    """
    check_order(path, meta, model)
    model.load_state_dict(model_state(tensors))


def check_order(path: Path, meta: dict[str, Any], model: MultimodalModel) -> None:
    """Refuse a model file whose modalities are not in the model's order: a fusion of concatenated features would take
    one for another without a word.

    Args:
        meta: what the file says of itself.
    """
    found = meta.get("modalities")
    if found != model.modalities:
        said = "does not name its modalities" if found is None else f"has the modalities {', '.join(found)}"
        raise UserError(
            f"{path} {said}, the dataset declares {', '.join(model.modalities)}: train it again (snakemake --cores 4"
            f" -- {path})"
        )


def _load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str, groups: list[dict[str, Any]]
) -> None:
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix):
            index, key = name.removeprefix(prefix).split("/")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})
