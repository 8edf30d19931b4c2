"""The result file results/D_M.json as a type: what the summary stage writes, and what tables, figures and the JSON
schema read from.
"""

from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from equimodal.errors import UserError
from equimodal.store import read_json

ByModality = dict[str, "Spread"]
File = TypeVar("File", bound=BaseModel)


class Part(BaseModel):
    """Closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Spread(Part):
    """A number over seeds."""

    mean: float
    std: float | None = Field(ge=0, description="sample standard deviation (n - 1); null for one seed")
    per_seed: list[float] = Field(min_length=1, description="in the order of `seeds`")


class Estimate(Spread):
    """A number over seeds with the interval of its mean."""

    interval95: tuple[float, float] | None = Field(
        description="Student's t, low and high; over seeds on this one split; null for one seed"
    )


class Errors(Part):
    """Measures of a regression; null where a seed's is not defined (a correlation of constant predictions)."""

    mae: Estimate = Field(description="mean absolute error, in the labels' unit")
    rmse: Estimate = Field(description="root of the mean squared error")
    pearson: Estimate | None = Field(description="correlation of predictions and labels")
    binary_accuracy: Estimate = Field(
        description="labels and predictions at or above `regression.threshold` against those below"
    )
    binary_f1: Estimate = Field(description="macro-F1 of the same")
    nonzero_accuracy: Estimate | None = Field(
        description="labels equal to the threshold left out, above against below: the literature's negative/positive"
    )
    nonzero_f1: Estimate | None = Field(description="macro-F1 of the same")


class Validation(Part):
    """The same weights on the validation split."""

    accuracy: Spread
    macro_f1: Spread
    errors: Errors | None = Field(None, description="task regression only")


class Selection(Part):
    """What the weights of one selection rule reach on the test split."""

    label: str = Field(description="the rule in words")
    epochs: list[int] = Field(description="epoch (from 0) whose weights the rule chose, by seed")
    accuracy: Estimate
    macro_f1: Estimate
    modalities: dict[str, ByModality] = Field(
        description="readout -> modality -> accuracy: split, zero-feature, and (rule val only) probe"
    )
    recall: dict[str, float] = Field(description="class -> share of its test samples found, mean over seeds")
    confusion: list[list[int]] = Field(
        description="rows: true classes, columns: predicted ones, in the order of `classes`; summed over seeds"
    )
    validation: Validation
    errors: Errors | None = Field(
        None, description="task regression only; the accuracies beside it read a number as its nearest grid value"
    )
    modality_errors: dict[str, dict[str, Errors]] | None = Field(
        None, description="task regression only: readout -> modality -> errors, as `modalities`"
    )


class Selections(Part):
    """By rule."""

    val: Selection
    last: Selection
    test: Selection | None = Field(description="null without `training.test_every_epoch`: nothing was chosen by it")


class Imbalance(Part):
    """How unequal the modalities are, with the weights that validation chose, on the test split."""

    gap: dict[str, Spread | None] = Field(
        description="readout -> highest minus lowest accuracy of a modality; null for one modality"
    )
    alpha: list[Spread] | None = Field(description="alpha_d of AIM's Eq. 14 for depths 1..D; null for one modality")
    s: dict[str, list[Spread]] = Field(description="modality -> s_d of AIM's Eq. 9 for depths 1..D")
    prototypes: Literal["class-mean"] = Field(
        "class-mean", description="what s is measured against: mean pooled training outputs of each class"
    )
    scale: Literal["within-class"] = Field(
        "within-class", description="each channel is divided by its standard deviation around the class means"
    )


class Calibration(Part):
    """What probabilities promise and what comes of it, with the weights that validation chose, on the test split
    (metrics.calibration); bins of equal width from 0 to 1.
    """

    ece: Spread = Field(description="expected calibration error: mean distance of accuracy and confidence, by bin")
    count: list[int] = Field(description="samples by bin of their highest probability, summed over seeds")
    confidence: list[float | None] = Field(description="mean highest probability of a bin's samples; null without any")
    accuracy: list[float | None] = Field(description="share of a bin's samples that are predicted right")


class Agreement(Part):
    """Validation accuracy minus test accuracy, with the last epoch's weights, which neither split chose
    (metrics.chance.apart).
    """

    difference: float = Field(description="mean over seeds")
    interval95: tuple[float, float]
    p: float = Field(description="two-sided, over clips and seeds: small where validation is not like test")


class Parameters(Part):
    """Trained weights of the model as exported."""

    total: int
    encoders: dict[str, int] = Field(description="by modality")
    fusion: int


class Flops(Part):
    """Floating-point operations per sample: convolutions and matrix products, two per multiply-add."""

    inference: float = Field(description="forward")
    training: float = Field(description="the method's own training step, forward and backward, mean over its cycle")
    training_joint: float = Field(description="the same model trained jointly, forward and backward")


class Method(Part):
    """What was trained."""

    name: str
    kind: str = Field(description="the registered method that a variant is based on")
    settings: dict[str, Any]


class Availability(Part):
    """How much of a dataset's lists is there: clips vanish from YouTube, so that copies differ."""

    digest: str = Field(
        description="sha256 of the ids used, missing and unreadable: equal where the same clips were used"
    )
    listed: int = Field(ge=0, description="clips on the lists")
    found: int = Field(ge=0, description="of those, clips with a file")
    missing: int = Field(ge=0, description="of those, clips without one")
    unreadable: int = Field(
        ge=0, description="of the found ones, clips that could not be used (they count in `rejected`)"
    )


class Data(Part):
    """What it was trained and tested on."""

    digest: str = Field(description="sha256 of the dataset's manifest: samples, labels, splits, arrays")
    samples: dict[str, int] = Field(description="by split")
    order: list[str] = Field(description="the dataset's modalities as params.yaml declares them")
    modalities: dict[str, str] = Field(
        description="modality -> kind of features; all of the dataset's, whether or not the method reads them"
    )
    rejected: int = Field(ge=0, description="clips left out because they could not be read")
    zero_filled: dict[str, int] = Field(description="modality -> samples whose missing track is all zeros")
    availability: Availability | None = Field(
        None, description="what of the dataset's lists was there; null for data without lists"
    )
    dropped_classes: dict[str, str] | None = Field(
        None,
        description="classes of the dataset that were left out -> why; absent where all are used",
        exclude_if=lambda dropped: dropped is None,
    )


class Result(Part):
    """One method on one dataset over seeds; docs/results.md explains each field."""

    dataset: str
    source: str = Field(description="sample (generated), local or download")
    note: str | None = Field(description="what a reader must know before quoting a number")
    warnings: list[str] = Field(
        [], description="why numbers say little: splits that are too small, validation that is not like test"
    )
    protocol: str = Field(
        "custom",
        description="the published protocol that data and training follow; custom where params.yaml says all itself",
    )
    task: Literal["classification", "regression"] = "classification"
    regression: dict[str, Any] | None = Field(None, description="loss, range, grid and threshold of a regression")
    split: dict[str, Any] = Field(description="the rule that made training, validation and test")
    method: Method
    settings: dict[str, Any] = Field(description="resolved settings of model, training, method and runtime")
    settings_digest: str = Field(description="sha256 of `settings`: equal digests were trained alike")
    seeds: list[int] = Field(min_length=1)
    classes: list[str]
    selection: Selections
    agreement: Agreement | None = Field(None, description="whether validation and test differ by more than chance")
    imbalance: Imbalance
    calibration: Calibration | None = Field(None, description="null for a regression, which gives no probabilities")
    parameters: Parameters
    flops: Flops
    data: Data

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a result file, modalities in the order that it names; a missing or foreign one is a
        UserError.
        """
        return checked(cls, read_json(path), path, "result").in_declared_order()

    def in_declared_order(self) -> Self:
        """The same with modalities as params.yaml declares them; in files keys are sorted."""
        return self.model_validate(_ordered(self.model_dump(), self.data.order))

    @property
    def name(self) -> str:
        """As in the file's name: cremad_aim."""
        return f"{self.dataset}_{self.method.name}"

    def model_folders(self, path: Path) -> dict[int, Path]:
        """Each seed's trained model, beside this result's file `path` as the workflow wrote both."""
        folder = path.resolve().parent.parent / "models" / self.dataset / self.method.name
        return {seed: folder / str(seed) for seed in self.seeds}

    @property
    def own_readout(self) -> str:
        """The fusion head's own readout: split weights where it has them."""
        return "split" if "split" in self.selection.val.modalities else "zero-feature"


def _ordered(value: Any, order: list[str]) -> Any:
    """The same content with every mapping of modalities in their order; in a file keys are sorted."""
    if isinstance(value, list):
        return [_ordered(each, order) for each in value]
    if not isinstance(value, dict):
        return value
    names = [name for name in order if name in value] if value.keys() <= set(order) else list(value)
    return {name: _ordered(value[name], order) for name in names}


def checked(kind: type[File], content: Any, path: Path, what: str) -> File:
    """The content of `path` as a type; a UserError where it is no such `what` ("result", "cost file")."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(
            f"{path} is no {what} of this version ({where}: {error.errors()[0]['msg']}): if a stage wrote"
            " it, build it again"
        ) from None
