"""What every dataset is set by, whatever its layout: split, modalities, protocol.

Each kind adds its own in its file in `datasets`.
"""

from collections import Counter
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from equimodal.settings.base import Listed, Settings, deep_merge
from equimodal.settings.features import ArraySettings, Feature
from equimodal.settings.regression import RegressionSettings
from equimodal.settings.training import Seed

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+\S*$")]
SHA256 = Annotated[str, StringConstraints(pattern="^[0-9a-fA-F]{64}$", to_lower=True)]
Side = Annotated[int, Field(ge=16, le=1024)]  # of generated videos, in px


class SplitSettings(Settings):
    """How samples are divided into train, val and test."""

    rule: Literal["actor", "ogm", "column", "stratified", "lists"] = Field(
        "actor",
        description="actor: disjoint groups by folds; ogm: the 6,698/744 list; column: the table's own split column;"
        " stratified: by class; lists: the dataset's published train and test lists",
    )
    folds: int = Field(
        5, ge=2, le=1000, description="rule actor: folds of groups; rule stratified: 1/folds is the test part"
    )
    fold: int = Field(0, ge=0, description="the fold that is tested")
    validation: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="share of the training part held out for validation (0 only with a split column that has val)",
    )
    validation_by: Literal["group", "stratified"] = Field(
        default_factory=lambda split: "stratified" if split.get("rule") == "stratified" else "group",
        description="how validation is carved: whole groups (actors), or by class (stratified); by default as the rule"
        " divides: by class for rule stratified, else whole groups",
    )
    lists: str | None = Field(
        None, description="rule ogm: folder with train.csv and test.csv; null downloads them (pinned checksum)"
    )
    seed: Seed = Field(0, description="of what the rule draws: which groups or samples go where")

    @model_validator(mode="after")
    def _fold_in_range(self) -> Self:
        if self.fold >= self.folds:
            raise ValueError(f"fold ({self.fold}) must be below folds ({self.folds})")
        return self


class VideoSample(Settings):
    """What every generated dataset of videos has."""

    size: Listed[tuple[Side, Side]] = Field((64, 80), description="height, width of the video in px, even numbers")
    seed: Seed = Field(0, description="of what is generated")

    @model_validator(mode="after")
    def _size_can_be_encoded(self) -> Self:
        if any(side % 2 for side in self.size):
            raise ValueError(f"size {self.size} must be two even numbers of at least 16 px")
        return self


class DatasetSettings(Settings):
    """What every dataset has, whatever its layout.

    `protocols` are the published protocols of a dataset: name -> values of its own keys (split, modalities, model,
    training, ...) that fill in what params.yaml leaves out, key by key. `takes_arrays`: modalities may be arrays
    computed elsewhere (kinds sequence and vector), not media alone.
    """

    protocols: ClassVar[dict[str, dict[str, Any]]] = {}
    takes_arrays: ClassVar[bool] = False

    base: str | None = Field(
        None,
        exclude=True,  # resolved before these settings are read: nothing depends on it
        description="the dataset that this one is based on: what is not written here is as there (docs/workflow.md)",
    )
    kind: str = Field(description="which dataset it is, or table for your own data")
    source: str = Field("local", description="sample (generated), local (your copy) or download")
    protocol: str = Field(
        "custom",
        description="a published protocol, which fills in the keys that are not given; results name it (docs/datasets)",
    )
    task: Literal["classification", "regression"] = Field(
        "classification", description="what labels are: classes, or numbers (docs/regression.md)"
    )
    regression: RegressionSettings | None = Field(
        None, description="task regression: loss, range of the labels, grid of target values"
    )
    split: SplitSettings = SplitSettings()
    missing: Literal["reject", "zero"] = Field(
        "reject", description="a sample whose sound or picture is missing: leave it out, or fill with zeros (counted)"
    )
    max_rejected: float = Field(
        0.01, ge=0, le=1, description="share of samples that may be rejected before the stage stops"
    )
    modalities: dict[Name, Feature] = Field(
        description="name -> feature; the order is the order of the model's encoders"
    )
    model: dict[str, Any] = Field({}, description="overrides of the section `model` for this dataset")
    training: dict[str, Any] = Field({}, description="overrides of the section `training` for this dataset")
    methods: dict[Name, dict[str, Any]] = Field({}, description="method -> overrides of its settings for this dataset")

    @model_validator(mode="before")
    @classmethod
    def _expand_protocol(cls, value: Any) -> Any:
        name = value.get("protocol", "custom") if isinstance(value, dict) else "custom"
        if name == "custom":
            return value
        if not isinstance(name, str) or name not in cls.protocols:
            raise ValueError(f"protocol {name!r} is unknown; valid: {', '.join(['custom', *sorted(cls.protocols)])}")
        return deep_merge(cls.protocols[name], value)

    @model_validator(mode="after")
    def _numbers_have_a_range(self) -> Self:
        if self.task == "regression" and self.regression is None:
            raise ValueError("task: regression needs the section regression with low and high, the range of the labels")
        return self

    @property
    def numbers(self) -> RegressionSettings | None:
        """The settings of a regression; None for classification."""
        return self.regression if self.task == "regression" else None

    @model_validator(mode="after")
    def _some_modality(self) -> Self:
        if not self.modalities:
            raise ValueError("at least one modality is needed")
        arrays = [name for name, feature in self.modalities.items() if isinstance(feature, ArraySettings)]
        if arrays and not self.takes_arrays:
            raise ValueError(
                f"modality {arrays[0]} is a {self.modalities[arrays[0]].kind}, but kind {self.kind} reads"
                " media: use kind: table for arrays"
            )
        return self


class ListedSettings(DatasetSettings):
    """A dataset whose classes are known before its files are looked at: a copy may have some of them only."""

    classes: Listed[tuple[str, ...]] | None = Field(
        None,
        min_length=2,
        description="the classes to use, of the dataset's; null: all. Label ids count those that are left, in the"
        " dataset's order",
        exclude_if=lambda names: names is None,
    )
    missing_classes: Literal["refuse", "drop"] = Field(
        "refuse",
        description="a class of which the copy has no clip, or none that can be used in one of the splits: stop, or go"
        " on without it (results name what was dropped)",
        exclude_if=lambda rule: rule == "refuse",
    )

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        twice = [name for name, number in Counter(self.classes or ()).items() if number > 1]
        if twice:
            raise ValueError(f"classes names {twice[0]} twice")
        return self
