"""Settings of a table."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from equimodal.settings.base import Settings
from equimodal.settings.datasets import DatasetSettings, SplitSettings
from equimodal.settings.features import ArraySettings, Feature, SequenceSettings


class TableColumns(Settings):
    """Which column of the CSV holds what."""

    path: str | dict[str, str] | None = Field(
        "path",
        description="column with the media file, or MODALITY: column where each has a file of its own; null where every"
        " modality is an array",
    )
    label: str = Field("label", description="column with the class, or with the number of a regression")
    id: str | None = Field(
        None,
        description="column with a unique name per sample; null: made of the path, or the row's number",
        exclude_if=lambda name: name is None,
    )
    split: str | None = Field(None, description="column with train/val/test; null: split.rule decides")
    group: str | None = Field(
        None, description="column with the speaker, video, ... that must not be on two sides of a split"
    )
    start: str | None = Field(None, description="column with the start in seconds")
    end: str | None = Field(None, description="column with the end in seconds")


class TableSplit(SplitSettings):
    """How a table's rows are divided."""

    rule: Literal["actor", "column", "stratified"] = Field(
        "actor",
        description="actor: disjoint groups (columns.group) by folds; column: the table's own (columns.split);"
        " stratified: by class",
    )


class TableSettings(DatasetSettings):
    """Your own data: a CSV with one row per sample."""

    kind: Literal["table"] = Field(description="which dataset it is")
    source: Literal["local"] = Field("local", description="your files")
    root: str = Field(description="folder that the CSV's paths are relative to")
    table: str = Field(description="the CSV file, relative to root")
    columns: TableColumns = TableColumns()
    split: TableSplit = TableSplit()
    takes_arrays: ClassVar[bool] = True

    @property
    def media(self) -> dict[str, str]:
        """The modalities that are read from media, and the column of each one's file."""
        arrays, path = sources(self.modalities), self.columns.path
        named = path if isinstance(path, dict) else dict.fromkeys(self.modalities, path or "")
        return {name: named.get(name, "") for name in self.modalities if name not in arrays}

    @model_validator(mode="after")
    def _rule_has_its_column(self) -> Self:
        if self.split.rule == "column" and self.columns.split is None:
            raise ValueError("split.rule = column needs columns.split, the column with train, val or test")
        if self.split.rule == "stratified" and self.columns.group is not None:
            raise ValueError(
                f"split.rule = stratified would put a group of '{self.columns.group}' (columns.group) on two sides: use"
                " rule actor, or leave out columns.group"
            )
        return self

    @model_validator(mode="after")
    def _arrays_are_somewhere(self) -> Self:
        for name, feature in sources(self.modalities).items():
            if (feature.column is None) == (feature.file is None):
                raise ValueError(
                    f"modality {name} is a {feature.kind}: give column (one path per row) or file (one for all"
                    " rows), not both"
                )
            if isinstance(feature, SequenceSettings) and feature.lengths is not None and feature.file is None:
                raise ValueError(f"modality {name} has lengths, which go with file")
        without = [name for name, column in self.media.items() if not column]
        if without:
            raise ValueError(
                f"columns.path names no column for {', '.join(without)}, to be read from media: name the column with"
                " the file, or one for each (path: {MODALITY: column})"
            )
        if isinstance(self.columns.path, dict) and (strange := sorted(set(self.columns.path) - set(self.media))):
            raise ValueError(
                f"columns.path names a column for {', '.join(strange)}, but the modalities that are read from media are"
                f" {', '.join(self.media) or 'none'}"
            )
        return self


def sources(modalities: Mapping[str, Feature]) -> dict[str, ArraySettings]:
    """The modalities that are arrays."""
    return {name: feature for name, feature in modalities.items() if isinstance(feature, ArraySettings)}
