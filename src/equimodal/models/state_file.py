"""Files of weights that people bring: read without running code, and compared with the network they are meant for."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equimodal.errors import UserError
from equimodal.files import no_file
from equimodal.models.resnet import ResNet

FORMATS = (".pth", ".pt", ".safetensors")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
GET_ANOTHER = "save model.state_dict() of a model in float32, or get the file again"
WANTED = "a state dict of torchvision's resnet18 (.pth, .pt or .safetensors)"


def read_resnet(path: Path, width: int, layers: tuple[int, int, int, int]) -> dict[str, Tensor]:
    """Weights and batch statistics of a ResNet of basic blocks for RGB, as float32, without the classifier `fc`.

    Raises:
        UserError: no such file, not a state dict, weights of another architecture (the first difference, and the
            settings it would need).
    """
    tensors = {name: value for name, value in read_state(path).items() if not name.startswith("fc.")}
    check(path, tensors, width, layers)
    return {name: value if name.endswith("num_batches_tracked") else value.float() for name, value in tensors.items()}


def read_state(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of a .safetensors file, or of a .pth or .pt file through torch's restricted unpickler."""
    if path.suffix not in FORMATS:
        raise UserError(f"model.weights = {path}: the name of a file of weights ends in {', '.join(FORMATS)}")
    if (why := no_file(path)) is not None:
        raise UserError(f"model.weights = {path} {why}: give {WANTED}, download, or null")
    state: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            _check_stored(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling what is no pickle raises nearly anything
        raise UserError(f"model.weights = {path} cannot be read as {WANTED}: {_reason(path, error)}") from None
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())
    ):
        found = (
            f"keys {', '.join(map(str, list(state)[:3]))}"
            if isinstance(state, Mapping) and state
            else type(state).__name__
        )
        raise UserError(
            f"model.weights = {path} is no state dict (found: {found}): save model.state_dict() of"
            " torchvision's resnet18 itself"
        )
    return dict(state)


def check(path: Path, tensors: Mapping[str, Tensor], width: int, layers: tuple[int, int, int, int]) -> None:
    """Refuse tensors that are not those of a ResNet of this width and depth for RGB, naming the first that differs and
    what the file is.
    """
    with torch.device("meta"):
        expected = ResNet(3, width=width, layers=layers).state_dict()
    where = f"model.weights = {path}: "
    for name, value in expected.items():
        if name.endswith("num_batches_tracked"):
            counter = tensors.get(name, value)
            if counter.layout != torch.strided or counter.dtype != torch.int64 or counter.dim():
                raise UserError(f"{where}{name} is {_kind(counter)}, not a whole number: {GET_ANOTHER}")
            continue
        if name not in tensors:
            raise UserError(f"{where}{name} is not in it{_what(tensors, width, layers)}")
        if tensors[name].shape != value.shape:
            raise UserError(
                f"{where}{name} is {list(tensors[name].shape)}, the model needs"
                f" {list(value.shape)}{_what(tensors, width, layers)}"
            )
    for name, value in tensors.items():
        if name not in expected:
            raise UserError(f"{where}{name} is not in the model{_what(tensors, width, layers)}")
        if name.endswith("num_batches_tracked"):
            continue
        if value.layout != torch.strided or value.device.type == "meta" or value.dtype not in FLOATS:
            raise UserError(f"{where}{name} is {_kind(value)}, not plain numbers: {GET_ANOTHER}")
        if not torch.isfinite(value).all():
            raise UserError(f"{where}{name} has values that are not finite: the file is damaged, get it again")


def _kind(value: Tensor) -> str:
    """What a tensor is beside plain numbers."""
    if value.layout != torch.strided:
        return f"a sparse tensor ({value.layout})"
    where = " without values (on the device meta)" if value.device.type == "meta" else ""
    return f"of {value.dtype} {list(value.shape)}{where}"


def _check_stored(path: Path) -> None:
    """Refuse a .pth that is compressed: torch.save writes none, and few bytes could become any number of them."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("it is a compressed archive, as torch.save writes none")


def _what(tensors: Mapping[str, Tensor], width: int, layers: tuple[int, int, int, int]) -> str:
    """What the file seems to be, for the end of a message."""
    stem = tensors.get("conv1.weight")
    if any(re.fullmatch(r"layer1\.0\.conv3\.weight", name) for name in tensors):
        return (
            "; it is a ResNet of bottleneck blocks (ResNet50 or deeper), the encoders here have basic blocks:"
            " give a resnet18"
        )
    depth = [
        len({found[1] for name in tensors if (found := re.match(rf"layer{stage}\.(\d+)\.", name))})
        for stage in (1, 2, 3, 4)
    ]
    if stem is None or stem.dim() != 4 or 0 in depth:
        return f"; give {WANTED}"
    if (stem.shape[0], *depth) != (width, *layers):
        return (
            f"; the file fits model.width: {stem.shape[0]}, model.layers: {depth}, params.yaml has {width} and"
            f" {list(layers)}"
        )
    return f"; give {WANTED}, trained on RGB"


def _reason(path: Path, error: Exception) -> str:
    """One line."""
    with open(path, "rb") as file:
        start = file.read(200).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, not a file of weights; download it again"
    return (
        f"{type(error).__name__}:"
        f" {str(error).strip().splitlines()[0][:200] if str(error).strip() else 'damaged'}; get it again"
    )
