"""The cost file results/cost/D_M.json, and results/cost/reference/D.json that it refers to, as types: what the stages
cost and reference measure, and what the cost table reads.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from equimodal.report.result import Part, checked
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
    """Numbers of weights at the start of training."""

    model: int = Field(ge=0, description="the model as exported, frozen ones included")
    beside: int = Field(ge=0, description="what the method trains beside it, and does not export")
    joint: int = Field(ge=0, description="joint training's model")


class Epoch(Part):
    """What an epoch takes beside its steps; seconds by the clock of `Time`."""

    seconds_begin: float = Field(ge=0, description="to begin: what its first step takes more than another")
    seconds_end: float = Field(ge=0, description="what the method does after its last step, as a pass over validation")
    seconds_feed: float = Field(ge=0, description="to draw its training batches, augmented")
    seconds_evaluate: float = Field(
        ge=0, description="to measure the model on validation, and test if every epoch does"
    )
    seconds_save: float = Field(ge=0, description="to write the run's whole state")
    state_bytes: int = Field(ge=0, description="of that state on disk")
    model_bytes: int = Field(ge=0, description="of the exported model's weights and buffers")

    @property
    def seconds(self) -> float:
        """Of all of them."""
        return self.seconds_begin + self.seconds_end + self.seconds_feed + self.seconds_evaluate + self.seconds_save


class Pieces(Part):
    """What is measured of a method alone, not in turns with another."""

    peak: int = Field(ge=0, description="bytes at the peak of a step, see `Memory`")
    model_weights: int = Field(ge=0)
    beside_weights: int = Field(ge=0)
    operations: float = Field(ge=0, description="aten operations a step that compute, mean over the method's cycle")
    epoch: Epoch


class Fit(Part):
    """The fit on the warm-up."""

    seconds: float = Field(ge=0)
    measured: Literal["stage", "again"] = Field(
        description="stage: what stage prototypes took on this machine; again: the same fit once more, by stage cost"
    )


class Run(Part):
    """Seconds of a whole run, put together from its pieces and its numbers of steps and epochs; starting commands,
    reading data and writing the best weights are left out.
    """

    epochs: int = Field(ge=1)
    warmup_epochs: int = Field(ge=0, description="of those, trained jointly")
    steps: int = Field(ge=1, description="of an epoch")
    fit: Fit | None = Field(description="null: the method has none, or its warm-up has not been trained here")
    starts: dict[str, float] = Field(description="seconds of the runs that it starts from, by method")
    seconds: float | None = Field(description="null where the fit is not known")
    seconds_joint: float = Field(gt=0)
    trained: float | None = Field(
        None,
        description="seconds that the stages of the study's first seed took on this machine, from warm-up or models of"
        " one modality to trained model; null: not all were run here, or one was killed in between",
    )

    @property
    def trained_ratio(self) -> float | None:
        """Of what training took over joint training's run."""
        return None if self.trained is None else self.trained / self.seconds_joint

    @property
    def ratio(self) -> float | None:
        """Of the method's run over joint training's."""
        return None if self.seconds is None else self.seconds / self.seconds_joint

    @property
    def fit_ratio(self) -> float | None:
        """Of the fit over a whole run of joint training."""
        return None if self.fit is None else self.fit.seconds / self.seconds_joint


class Reference(Part):
    """Joint training alone, measured once for all methods of a dataset on one machine."""

    dataset: str
    data_digest: str
    settings_digest: str
    machine: Machine
    pieces: Pieces

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check results/cost/reference/D.json."""
        return checked(cls, read_json(path), path, "cost file")


class Cost(Part):
    """What training one method costs beside joint training, measured on one machine.

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
    operations: float = Field(ge=0, description="aten operations a step that compute, mean over the method's cycle")
    operations_joint: float = Field(ge=0)
    epoch: Epoch
    epoch_joint: Epoch
    run: Run

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a cost file; a missing or foreign one is a UserError."""
        return cls.parse(read_json(path), path)

    @classmethod
    def parse(cls, content: Any, path: Path) -> Self:
        """The same from the content of `path`."""
        return checked(cls, content, path, "cost file")
