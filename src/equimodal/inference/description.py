"""What a file of trained weights says of itself: all that its model needs to be built, fed and understood, so that no
params.yaml is needed to use it.
"""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from equimodal.errors import UserError
from equimodal.store import read_tensors, stated_sha256

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1


class Part(BaseModel):
    """Closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InputDescription(Part):
    """One modality: how its media become the stored array, and how that becomes the model's input.

    Attributes:
        settings: of the feature, as params.yaml's `datasets.D.modalities`.
        shape: of a stored row.
        mean, std: of the training split.
        notes: what turns stored values back into physical ones.
    """

    name: str
    kind: str
    settings: dict[str, Any]
    shape: list[int]
    mean: list[float]
    std: list[float]
    notes: dict[str, Any]

    @property
    def array(self) -> bool:
        """Whether it is read from files of arrays; no media file holds it."""
        return self.kind in ("sequence", "vector")


class Facts(Part):
    """What is known of a model when its training begins; a file of weights holds it as `about`.

    Attributes:
        version: of the package that trains it.
        source: sample (generated), local or download.
        data_digest: of the manifest.
        classes: names, in the order of the logits; of a regression the grid values' names.
        regression: settings of the labels' grid; None for classes.
        missing: what became of samples without one modality: rejected, or zeros in its place.
        inputs: the model's modalities, in its order.
        model: the section `model` as the dataset had it.
        settings: of the method.
    """

    format: Literal[1] = 1
    version: str
    dataset: str
    source: str
    protocol: str
    data_digest: str
    task: Literal["classification", "regression"]
    classes: list[str]
    regression: dict[str, Any] | None
    missing: Literal["reject", "zero"]
    inputs: list[InputDescription]
    model: dict[str, Any]
    channels_last: bool
    method: str
    kind: str
    settings: dict[str, Any]
    seed: int

    @property
    def modalities(self) -> list[str]:
        """Names, in the model's order."""
        return [entry.name for entry in self.inputs]


class Description(Facts):
    """One trained model.

    Attributes:
        rule, epoch: how the weights were selected, and when.
        structure: what the method changed of the model while training.
    """

    rule: str
    epoch: int
    structure: dict[str, Any]

    @classmethod
    def of_file(cls, meta: Any, path: Path) -> Self:
        """The description in a file's metadata.

        Raises:
            UserError: it has none, or one of another version.
        """
        again = "train it again with this version (snakemake -R train_from_scratch train_from_warmup ...)"
        if not isinstance(meta, dict) or "rule" not in meta:
            raise UserError(f"{path} holds no trained model: give a model's val.safetensors, or its exported folder")
        if meta.get("epoch") is None:
            raise UserError(
                f"{path} is empty: the test split was not measured every epoch (training.test_every_epoch), so that"
                " nothing was chosen by it; take val.safetensors"
            )
        if meta.get("about") is None:
            raise UserError(f"{path} does not say how to use it, an older version of equimodal wrote it: {again}")
        about = meta["about"]
        if about.get("format") != FORMAT:
            raise UserError(
                f"{path} is of format {about.get('format')}, this version of equimodal ({version('equimodal')}) reads"
                f" {FORMAT}: install equimodal {about.get('version', 'of the time')}, or {again}"
            )
        try:
            return cls(**about, **{key: meta[key] for key in ("rule", "epoch", "structure")})
        except (ValidationError, KeyError, TypeError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            where = ".".join(map(str, first["loc"])) + ": " + first["msg"] if first else str(error)
            raise UserError(f"{path}: its description is damaged ({where}): {again}") from None


def described(
    manifest: dict[str, Any],
    modalities: list[str],
    missing: Literal["reject", "zero"],
    model: dict[str, Any],
    channels_last: bool,
    method: tuple[str, str, dict[str, Any]],
    seed: int,
) -> dict[str, Any]:
    """`Facts` as JSON has them, for the files of weights.

    Args:
        manifest: content of data/D/manifest.json.
        modalities: the model's.
        missing: `datasets.D.missing`.
        model: the section `model` with the dataset's overrides.
        method: name, registered kind, settings.
    """
    name, kind, settings = method
    entries = {name: manifest["modalities"][name] for name in modalities}
    return Facts(
        version=version("equimodal"),
        dataset=manifest["dataset"],
        source=manifest["source"],
        protocol=manifest.get("protocol", "custom"),
        data_digest=manifest["digest"],
        task=manifest["task"],
        classes=manifest["classes"],
        regression=manifest.get("regression"),
        missing=missing,
        inputs=[
            InputDescription(name=name, **{key: entry[key] for key in InputDescription.model_fields if key != "name"})
            for name, entry in entries.items()
        ],
        model=model,
        channels_last=channels_last,
        method=name,
        kind=kind,
        settings=settings,
        seed=seed,
    ).model_dump(mode="json")


def read(path: Path) -> "tuple[Description, dict[str, Tensor]]":
    """A file of trained weights: its description, and the tensors.

    Raises:
        UserError: missing, damaged, of an older version, or no model's.
    """
    tensors, meta = read_tensors(path, stated_sha256(path))
    return Description.of_file(meta, path), tensors
