"""Settings of Kinetics-Sounds."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from equimodal.settings.base import Listed, Settings
from equimodal.settings.datasets import ListedSettings, SplitSettings, Url, VideoSample


class KineticsSoundsSample(VideoSample):
    """The generated stand-in for Kinetics-Sounds: its names, lists and codecs, its imbalance."""

    classes: int = Field(8, ge=2, le=31, description="of the 31 classes so many, evenly spread")
    clips_per_class: int = Field(60, ge=10, le=600, description="listed clips of each class; a fifth of them to test")
    missing: float = Field(
        0.05, ge=0, le=0.5, description="share of the listed clips that have no file, as ids are gone from YouTube"
    )
    seconds: float = Field(2.5, ge=0.4, le=10, description="length of the longest clips; the shortest have 0.9 of it")


class KineticsSoundsLists(Settings):
    """Which clips, of which class: a line each, `id,seconds,class` as published, or `id,class[,start,end]`."""

    train: str | None = Field(
        None, description="list of training clips; null fetches the published one (14,799 clips, pinned checksum)"
    )
    val: str | None = Field(None, description="list of validation clips; null: split.validation of the training clips")
    test: str | None = Field(
        None, description="list of test clips; null fetches the published one (2,597 clips, pinned checksum)"
    )


class KineticsSoundsSplit(SplitSettings):
    """The published lists by default, validation taken from training by class."""

    rule: Literal["lists", "actor", "stratified"] = Field(
        "lists",
        description="lists: the train, val and test lists; actor: disjoint videos by folds; stratified: by class",
    )
    validation_by: Literal["group", "stratified"] = Field(
        "stratified", description="how validation is carved: by class, or by whole videos (group)"
    )


def _protocol(audio: dict[str, Any], training: dict[str, Any]) -> dict[str, Any]:
    """What the published protocols share: the lists, ten frames per clip, three of them seen, ResNet18 from scratch."""
    return {
        "split": {"rule": "lists"},
        "modalities": {
            "audio": {"kind": "spectrogram", **audio},
            "visual": {"kind": "frames", "n": 10, "pick": 3, "size": [224, 224], "margin": 32, "channels": 3},
        },
        "model": {"width": 64, "layers": [2, 2, 2, 2], "stem_stride": 2, "stem_pool": True},
        "training": {"batch_size": 64, "augment": {"crop_scale": [0.08, 1.0], "per_frame": True}, **training},
    }


def _sgd(rate: float) -> dict[str, Any]:
    return {"name": "sgd", "lr": rate, "momentum": 0.9, "weight_decay": 1.0e-4}


def _step(epochs: int) -> dict[str, Any]:
    return {"name": "step", "step": epochs, "gamma": 0.1, "warmup": 0}


class KineticsSoundsSettings(ListedSettings):
    """Kinetics-Sounds: 31 classes, 14,799 training and 2,597 test clips of 10 s as listed."""

    # Training settings: methods.md 24, the rows of OGM-GE, InfoReg and AUG; learning rates of AUG for CREMA-D, its
    # epochs for Kinetics-Sounds.
    protocols: ClassVar[dict[str, dict[str, Any]]] = {
        "ogm": _protocol(
            {"preset": "ogm", "seconds": 10.0, "frames": 625},
            {"epochs": 100, "optimizer": _sgd(1.0e-3), "schedule": _step(70)},
        ),
        "fbank": _protocol({"preset": "fbank"}, {"epochs": 50, "optimizer": _sgd(2.0e-3), "schedule": _step(30)}),
        "aug": _protocol(
            {"preset": "ogm", "sample_rate": 35400, "seconds": 10.0, "frames": 1003},
            {"epochs": 100, "optimizer": _sgd(1.0e-2), "schedule": _step(70)},
        ),
    }

    kind: Literal["ks"] = Field(description="which dataset it is")
    source: Literal["sample", "local", "download"] = Field(
        "sample", description="sample: generated, for trying out; local: your copy; download: fetched and verified"
    )
    raw: str = Field(
        "data/ks/copy",
        description="local: folder of Kinetics clips in any usual layout; download: where they are fetched to",
    )
    lists: KineticsSoundsLists = KineticsSoundsLists()
    url: Url | None = Field(
        None,
        description="download: another mirror, of the archives (as https://s3.amazonaws.com/kinetics/400, the default),"
        " or of single clips (an address with {id}, and {class}, {split} if needed)",
    )
    parts: Listed[tuple[Literal["train", "val", "test"], ...]] = Field(
        ("train", "test"), min_length=1, description="download: parts of Kinetics-400 to look through"
    )
    manifest: str | None = Field(
        None, description="CSV with path, sha256, bytes of archives or clips, for verify and download; null: sizes only"
    )
    split: KineticsSoundsSplit = KineticsSoundsSplit()
    sample: KineticsSoundsSample = KineticsSoundsSample()
