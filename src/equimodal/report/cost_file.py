"""The cost file results/cost/D_M.json as a type: what the cost stage measures, and what the cost table reads."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from equimodal.errors import UserError
from equimodal.report.result import Part
from equimodal.store import read_json


class Machine(Part):
    """Where it was measured; numbers of other machines differ."""

    cpu: str = Field(description="model of the processor")
    threads: int = Field(ge=1, description="CPU threads (runtime.threads)")
    device: str = Field(description="cpu, or the GPU's name")
    torch: str = Field(description="version of torch")

    def __str__(self) -> str:
        on = (
            f"{self.cpu}, {self.threads} thread{'s' if self.threads > 1 else ''}"
            if self.device == "cpu"
            else self.device
        )
        return f"{on}, torch {self.torch}"


class Time(Part):
    """Seconds per training step, the method's and joint training's taken in turns in one process."""

    clock: Literal["processor", "wall"] = Field(
        description="processor: of all threads, which other work on the machine hardly touches; wall: on a GPU"
    )
    seconds: float = Field(gt=0, description="the method's median over rounds")
    seconds_joint: float = Field(gt=0, description="joint training's")
    ratios: list[float] = Field(min_length=1, description="method over joint, one per round of `cycle` steps each")
    ratio: float = Field(gt=0, description="median of `ratios`")
    quartiles: tuple[float, float] = Field(description="of `ratios`")
    cycle: int = Field(ge=1, description="steps after which the method's work repeats")


class Memory(Part):
    """Bytes at the peak of a training step: weights, gradients, optimizer state, batch, activations."""

    how: Literal["tensors", "allocator"] = Field(
        description="tensors: living tensors' storages (CPU); allocator: torch.cuda.max_memory_allocated"
    )
    peak: int = Field(ge=0)
    peak_joint: int = Field(ge=0)


class Weights(Part):
    """Numbers of trained weights at the start of training."""

    model: int = Field(ge=0, description="the model as exported")
    beside: int = Field(ge=0, description="what the method trains beside it, and does not export")
    joint: int = Field(ge=0, description="joint training's model")


class Cost(Part):
    """What a training step of one method costs beside joint training's, measured on one machine.

    docs/results.md explains it.
    """

    dataset: str
    method: str
    source: str
    data_digest: str
    batch_size: int
    settings_digest: str = Field(description="sha256 of the settings of model, training, method and runtime")
    machine: Machine
    time: Time
    memory: Memory
    weights: Weights

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a cost file; a missing or foreign one is a UserError."""
        return cls.parse(read_json(path), path)

    @classmethod
    def parse(cls, content: Any, path: Path) -> Self:
        """The same from the content of `path`."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise UserError(
                f"{path} is no cost file of this version ({where}: {error.errors()[0]['msg']}): if a stage"
                " wrote it, build it again"
            ) from None
