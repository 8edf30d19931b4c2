"""A trained model as an ONNX file: from stored rows to probabilities, crop and normalisation included."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from equimodal.errors import UserError
from equimodal.models.framework import MultimodalModel
from equimodal.models.padded import Input, Padded, lengths_mask
from equimodal.store import atomic

if TYPE_CHECKING:
    from equimodal.inference.model import TrainedModel

TOLERANCE = 1e-4  # of onnxruntime's answers, beside torch's
TRIED = (1, 3)  # samples in the batches that are compared


class Graph(nn.Module):
    """Rows of every modality, as data/D/features/m.npy holds them -> probabilities [B, K] (a regression's numbers [B]),
    fused and then of each modality alone; the mean over the seeds. A sequence takes two inputs, its rows [B, L, W] and
    steps [B].
    """

    def __init__(self, model: "TrainedModel") -> None:
        super().__init__()
        self.members = nn.ModuleList(model.members)
        self.inputs = model.about.inputs
        self.classes = bool(model.classes)
        self.transforms = model.transforms

    @property
    def names(self) -> tuple[list[str], list[str]]:
        """Of inputs and outputs."""
        heads = [
            name for each in self.inputs for name in ([each.name, f"{each.name}_steps"] if _long(each) else [each.name])
        ]
        what = "probabilities" if self.classes else "value"
        return heads, [what, *(f"{each.name}_{what}" for each in self.inputs)]

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        rest = iter(given)
        inputs: dict[str, Input] = {}
        for each in self.inputs:
            rows = next(rest)
            x: Input = Padded(rows, lengths_mask(next(rest), each.shape[0])) if _long(each) else rows
            inputs[each.name] = self.transforms[each.name].evaluate(x)
        said = []
        for member in self.members:
            outputs = cast(MultimodalModel, member).predict(inputs)
            alone = cast(MultimodalModel, member).readout(outputs.features)
            said.append([self._scores(logits) for logits in (outputs.logits, *(alone[e.name] for e in self.inputs))])
        return tuple(torch.stack(parts).mean(0) for parts in zip(*said, strict=True))

    def _scores(self, logits: Tensor) -> Tensor:
        return logits.float().softmax(1) if self.classes else logits[:, 0].float()

    def rows(self, batch: int, draw: np.random.Generator) -> tuple[Tensor, ...]:
        """Rows that a dataset could have."""
        found: list[Tensor] = []
        for each in self.inputs:
            shape = (batch, *each.shape)
            if each.kind in ("frames", "flow"):
                found.append(torch.from_numpy(draw.integers(0, 256, shape, dtype=np.uint8)))
            else:
                dtype = each.settings.get("dtype", "float32")
                found.append(torch.from_numpy(draw.normal(size=shape).astype(dtype)))
            if _long(each):
                found.append(torch.from_numpy(draw.integers(1, each.shape[0] + 1, batch)))
        return tuple(found)


def write_onnx(model: "TrainedModel", path: Path) -> float:
    """Write a model (on the CPU) as one ONNX file, with a batch of any size, and compare onnxruntime's answers with
    torch's; returns the largest difference.

    Raises:
        UserError: torch cannot export it, or the answers differ by more than `TOLERANCE`.
    """
    graph = Graph(model).eval()
    heads, outs = graph.names
    draw = np.random.default_rng(0)
    batch = torch.export.Dim("batch", min=1)
    given = graph.rows(2, draw)
    with atomic(path) as scratch:
        try:
            with _quiet():
                # Traced by dynamo (strict): without it a batch of pictures whose frames are folded into it stays fixed.
                shapes = (tuple({0: batch} for _ in given),)
                traced = torch.export.export(graph, given, dynamic_shapes=shapes, strict=True)
                program = torch.onnx.export(
                    traced, dynamo=True, input_names=heads, output_names=outs, verbose=False, optimize=True
                )
                assert program is not None
                program.save(str(scratch), external_data=False)
        except Exception as error:  # torch's exporter raises what any of its passes raises
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"torch cannot export {model.about.method} as ONNX ({first}): use --no-onnx") from error
        worst = max(_compared(scratch, graph, graph.rows(size, draw)) for size in TRIED)
        if not worst <= TOLERANCE:
            raise UserError(f"the ONNX file's answers differ from torch's by {worst:.2g}: use --no-onnx, and report it")
    return worst


def _compared(path: Path, graph: Graph, given: tuple[Tensor, ...]) -> float:
    """Largest difference of any answer."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {name: value.numpy() for name, value in zip(graph.names[0], given, strict=True)}
    with torch.no_grad():
        wanted = graph(*(value.clone() for value in given))
    found = session.run(graph.names[1], feed)
    pairs = zip(wanted, found, strict=True)
    return max(float(np.abs(a.numpy() - b).max()) if a.numel() else 0.0 for a, b in pairs)


def _long(each: Any) -> bool:
    return bool(each.kind == "sequence")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress lines and its warnings about torch's own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
