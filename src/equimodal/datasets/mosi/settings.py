"""Settings of CMU-MOSI."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from equimodal.settings.base import Settings
from equimodal.settings.datasets import SHA256, DatasetSettings, SplitSettings, Url
from equimodal.settings.features import SequenceSettings
from equimodal.settings.training import Seed

Steps = Annotated[int, Field(ge=2, le=1000)]


def _sequence(length: int, width: int, standardize: bool = True) -> dict[str, Any]:
    return {"kind": "sequence", "length": length, "width": width, "nonfinite": "zero", "standardize": standardize}


class MosiSample(Settings):
    """The generated stand-in: three sequences per segment, text telling most."""

    videos: int = Field(
        60, ge=4, le=1000, description="videos, each of one speaker; 58 % train, 11 % validate, the rest test"
    )
    segments: int = Field(16, ge=2, le=100, description="segments per video")
    lengths: dict[Literal["text", "audio", "vision"], Steps] = Field(
        {"text": 16, "audio": 32, "vision": 24}, description="steps of the longest sequences"
    )
    seed: Seed = Field(0, description="of what is generated")

    @model_validator(mode="after")
    def _lengths_of_all(self) -> Self:
        if len(self.lengths) < 3:
            raise ValueError("lengths needs text, audio and vision")
        return self


class MosiSplit(SplitSettings):
    """How CMU-MOSI is divided: by default as the packaging says."""

    rule: Literal["column", "actor", "stratified"] = Field(
        "column",
        description="column: the packaging's own parts; actor: disjoint videos by folds; stratified: by class, videos"
        " mixed",
    )


class MosiSettings(DatasetSettings):
    """CMU-MOSI: 2,199 segments, 93 videos, labels in [-3, 3]; text, audio and vision as sequences."""

    # methods.md 23.4. The three sources differ in features and in what a label of 0 is.
    protocols: ClassVar[dict[str, dict[str, Any]]] = {
        # mosi_data.pkl, MultiBench and MulT: GloVe 300, COVAREP 5, FACET 20, aligned to words; 0 counts as negative
        "aligned": {
            "labels": "positive",
            "split": {"rule": "column"},
            "modalities": {"text": _sequence(50, 300, False), "audio": _sequence(50, 5), "visual": _sequence(50, 20)},
        },
        # mosi_raw.pkl, MultiBench: GloVe 300, COVAREP 74, FACET 35
        "raw": {
            "labels": "positive",
            "split": {"rule": "column"},
            "modalities": {"text": _sequence(50, 300, False), "audio": _sequence(50, 74), "visual": _sequence(50, 35)},
        },
        # unaligned_50.pkl, MMSA, ReconBoost, BalanceBenchmark: BERT 768, COVAREP 5, FACET 20;
        # negative against non-negative
        "unaligned": {
            "labels": "nonneg",
            "split": {"rule": "column"},
            "modalities": {"text": _sequence(50, 768, False), "audio": _sequence(375, 5), "visual": _sequence(500, 20)},
        },
    }
    takes_arrays: ClassVar[bool] = True

    kind: Literal["mosi"] = Field(description="which dataset it is")
    split: MosiSplit = MosiSplit()
    source: Literal["sample", "local", "download"] = Field(
        "sample", description="sample: generated, for trying out; local: your copy; download: fetched and verified"
    )
    raw: str = Field(
        "data/mosi/copy/mosi_raw.pkl", description="local: the packaging, a .pkl file; download: where it is fetched to"
    )
    url: Url | None = Field(None, description="download: address of a packaging; there is no official one")
    sha256: SHA256 | None = Field(None, description="download: checksum of that file")
    labels: Literal["nonneg", "positive", "drop-zero"] = Field(
        "nonneg",
        description="two classes: negative and the rest; the rest and positive; negative and positive, zeros left out."
        " Not for task: regression",
    )
    sample: MosiSample = MosiSample()

    @model_validator(mode="after")
    def _known_modalities(self) -> Self:
        for name, feature in self.modalities.items():
            if name not in NAMES:
                raise ValueError(f"modality '{name}' is none of CMU-MOSI's: {', '.join(NAMES)}")
            if (
                not isinstance(feature, SequenceSettings)
                or feature.file
                or feature.column
                or feature.key
                or feature.lengths
            ):
                raise ValueError(
                    f"modality {name} must be kind: sequence without file, column, key and lengths, which the"
                    " packaging tells"
                )
        return self


# What a modality of params.yaml is called in the packagings.
NAMES = {"text": "text", "audio": "audio", "visual": "vision", "vision": "vision"}
