"""Settings of datasets: where the raw files are, how they are split, what is read from them."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from equimodal.settings.base import Settings
from equimodal.settings.features import Feature

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


class SplitSettings(Settings):
    """How samples are divided into train, val and test."""

    rule: Literal["actor", "ogm", "column", "stratified"] = Field(
        "actor", description="actor: disjoint groups by folds; ogm: the 6,698/744 list; column: the table's own split column; stratified: by class"
    )
    folds: int = Field(5, ge=2, description="rule actor: folds of groups; rule stratified: 1/folds is the test part")
    fold: int = Field(0, ge=0, description="the fold that is tested")
    validation: float = Field(0.15, ge=0, lt=1, description="share of the training part held out for validation (0 only with a split column that has val)")
    validation_by: Literal["group", "stratified"] = Field("group", description="how validation is carved: whole groups (actors), or by class")
    lists: str | None = Field(None, description="rule ogm: folder with train.csv and test.csv; null downloads them (pinned checksum)")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fold_in_range(self) -> Self:
        if self.fold >= self.folds:
            raise ValueError(f"fold ({self.fold}) must be below folds ({self.folds})")
        return self


class DatasetSettings(Settings):
    """What every dataset has, whatever its layout."""

    split: SplitSettings = SplitSettings()
    missing: Literal["reject", "zero"] = Field("reject", description="a sample whose sound or picture is missing: leave it out, or fill with zeros (counted)")
    max_rejected: float = Field(0.01, ge=0, le=1, description="share of samples that may be rejected before the stage stops")
    modalities: dict[Name, Feature] = Field(description="name -> feature; the order is the order of the model's encoders")
    model: dict[str, Any] = Field({}, description="overrides of the section `model` for this dataset")
    training: dict[str, Any] = Field({}, description="overrides of the section `training` for this dataset")
    methods: dict[Name, dict[str, Any]] = Field({}, description="method -> overrides of its settings for this dataset")

    @model_validator(mode="after")
    def _some_modality(self) -> Self:
        if not self.modalities:
            raise ValueError("at least one modality is needed")
        return self


class CremadSample(Settings):
    """The generated stand-in for CREMA-D: its names, its codecs, its imbalance."""

    actors: int = Field(20, ge=2, le=8999)
    clips_per_actor: int = Field(36, ge=6, le=72, description="clips of each actor, spread over the six emotions (each at most in 12 sentences)")
    seconds: float = Field(1.2, ge=0.4, le=20, description="length of the longest clips; the shortest have 0.85 of it")
    size: tuple[int, int] = Field((64, 80), description="height, width of the video in px, even numbers")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _size_can_be_encoded(self) -> Self:
        if min(self.size) < 16 or any(side % 2 for side in self.size):
            raise ValueError(f"size {self.size} must be two even numbers of at least 16 px")
        return self


class CremadSettings(DatasetSettings):
    """CREMA-D: 7,442 clips, 91 actors, six emotions."""

    kind: Literal["cremad"]
    source: Literal["sample", "local", "download"] = "sample"
    raw: str = Field("data/cremad/copy", description="local: folder with AudioWAV/ and VideoFlash/; download: where they are fetched to")
    url: str | None = Field(None, description="download: another home of the repository (a mirror); null is the public one")
    manifest: str | None = Field(
        None, description="CSV with path, sha256, bytes of every file, for verify and download; null: read from the repository's LFS pointers"
    )
    sample: CremadSample = CremadSample()


class TableColumns(Settings):
    """Which column of the CSV holds what."""

    path: str = "path"
    label: str = "label"
    split: str | None = Field(None, description="column with train/val/test; null: split.rule decides")
    group: str | None = Field(None, description="column with the speaker, video, ... that must not be on two sides of a split")
    start: str | None = Field(None, description="column with the start in seconds")
    end: str | None = Field(None, description="column with the end in seconds")


class TableSettings(DatasetSettings):
    """Your own data: a CSV with one row a sample."""

    kind: Literal["table"]
    source: Literal["local"] = "local"
    root: str = Field(description="folder that the CSV's paths are relative to")
    table: str = Field(description="the CSV file, relative to root")
    columns: TableColumns = TableColumns()


Dataset = Annotated[CremadSettings | TableSettings, Field(discriminator="kind")]
