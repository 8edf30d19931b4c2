"""A trained model as a folder that others can use: weights, what they are, a model card, ONNX. The layout is that of a
repository on the Hugging Face hub, which `huggingface_hub` uploads as it is.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from equimodal.errors import UserError
from equimodal.inference.card import card, measured, warned
from equimodal.inference.model import load
from equimodal.inference.onnx_graph import write_onnx
from equimodal.store import atomic, file_sha256, write_json

CONFIG = "config.json"
CARD = "README.md"
ONNX = "model.onnx"


@dataclass(frozen=True)
class Exported:
    """What was written; `difference` of the ONNX file's answers from torch's, None without one."""

    folder: Path
    files: list[str]
    difference: float | None


def export(source: str | os.PathLike[str], folder: Path, onnx: bool = True) -> Exported:
    """Write `folder`, whole or not at all: model.safetensors (seed-S.safetensors of several seeds), config.json,
    README.md and model.onnx.

    Args:
        source: as `load` takes it.
        folder: absent, or an earlier export, which it replaces.
        onnx: False leaves model.onnx out.

    Raises:
        UserError: no model; a folder that holds other things; torch cannot export it as ONNX.
    """
    if folder.exists() and not (folder / CONFIG).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there and is no earlier export: name another folder")
    model = load(source)
    numbers = measured(Path(source), model.files)
    names = ["model"] if len(model.files) == 1 else [f"seed-{seed}" for seed in model.seeds]
    difference = None
    with atomic(folder) as scratch:
        scratch.mkdir()
        for name, path in zip(names, model.files, strict=True):
            shutil.copyfile(path, scratch / f"{name}.safetensors")
        if onnx:
            difference = write_onnx(model, scratch / ONNX)
        config = {
            "library_name": "equimodal",
            **model.about.model_dump(mode="json", exclude={"epoch", "structure", "seed"}),
            "seeds": model.seeds,
            "files": {f"{name}.safetensors": file_sha256(scratch / f"{name}.safetensors") for name in names},
        }
        write_json(scratch / CONFIG, config)
        (scratch / CARD).write_text(card(model, numbers, onnx, warned(Path(source))), encoding="utf-8")
    return Exported(folder, sorted(path.name for path in folder.iterdir()), difference)
