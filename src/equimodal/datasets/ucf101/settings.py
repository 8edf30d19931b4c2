"""Settings of UCF-101."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from equimodal.settings.base import Whole
from equimodal.settings.datasets import SHA256, ListedSettings, SplitSettings, Url, VideoSample

ARCHIVE_BYTES = 6_932_971_618

# What the two protocols share (methods.md 23.3): list 1, six stored frames and pairs of which three are seen, flow of
# the whole 320 x 240 picture bounded to 20 px, ResNet18 that starts from ImageNet.
_FRAMES: dict[str, Any] = {"kind": "frames", "n": 6, "pick": 3, "size": [224, 224], "channels": 3}

_FLOW: dict[str, Any] = {
    "kind": "flow",
    "n": 6,
    "pick": 3,
    "size": [224, 224],
    "bound": 20.0,
    "compute_size": [240, 320],
}

_MODEL: dict[str, Any] = {
    "width": 64,
    "layers": [2, 2, 2, 2],
    "frames": "fold",
    "stem_stride": 2,
    "stem_pool": True,
    "weights": "download",
}

_AUGMENT: dict[str, Any] = {"crop": False, "flip": True}


class Ucf101Sample(VideoSample):
    """The generated stand-in for UCF-101: its names, its codec, its lists."""

    classes: int = Field(8, ge=2, le=12, description="actions, of the twelve that the sample knows")
    groups: int = Field(15, ge=6, le=99, description="groups per class (UCF-101: 25); 7 in 25 of them are tested")
    clips_per_group: int = Field(4, ge=1, le=99, description="clips of each class and group")
    seconds: float = Field(1.0, ge=0.2, le=20, description="length of the longest clips; the shortest have 0.85 of it")


class Ucf101Split(SplitSettings):
    """How UCF-101 is divided: by default as its list files say, validation carved from the training part by groups."""

    rule: Literal["lists", "actor", "stratified"] = Field(
        "lists",
        description="lists: the official list files; actor: groups (g01 to g25) by folds; stratified: by class,"
        " groups mixed",
    )
    list: Annotated[Literal[1, 2, 3], Whole] = Field(
        1, description="rule lists: which of the three official divisions; papers on imbalance use 1"
    )
    lists: str | None = Field(
        None,
        description="folder with classInd.txt, trainlist01.txt, testlist01.txt, ...; null downloads them (pinned"
        " checksums)",
    )


class Ucf101Settings(ListedSettings):
    """UCF-101: 13,320 clips, 101 actions."""

    protocols: ClassVar[dict[str, dict[str, Any]]] = {
        "bench": {
            "split": {"rule": "lists", "list": 1},
            "modalities": {"rgb": _FRAMES, "flow": {**_FLOW, "channels": 2}},
            "model": _MODEL,
            "training": {
                "epochs": 30,
                "batch_size": 32,
                "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
                "schedule": {"name": "step", "step": 10, "gamma": 0.1, "warmup": 0},
                "augment": _AUGMENT,
            },
        },
        "bml": {
            "split": {"rule": "lists", "list": 1},
            "modalities": {"rgb": _FRAMES, "flow": {**_FLOW, "channels": 3}},
            "model": _MODEL,
            "training": {
                "epochs": 100,
                "batch_size": 64,
                "optimizer": {"name": "sgd", "lr": 1e-4, "momentum": 0.9, "weight_decay": 1e-4},
                "schedule": {"name": "step", "step": 40, "gamma": 0.1, "warmup": 0},
                "augment": _AUGMENT,
            },
        },
    }

    kind: Literal["ucf101"] = Field(description="which dataset it is")
    source: Literal["sample", "local", "download"] = Field(
        "sample", description="sample: generated, for trying out; local: your copy; download: fetched and verified"
    )
    raw: str = Field(
        "data/ucf101/copy",
        description="local: folder with UCF-101/ or the clips themselves; download: where they are fetched to",
    )
    url: Url | None = Field(
        None,
        description="download: home of UCF101.rar, null is the public one; with `manifest`: folder of a mirror of"
        " plain files",
    )
    sha256: SHA256 | None = Field(
        None,
        description="download: checksum of the archive (none is published); null: its size only",
    )
    bytes: int = Field(ARCHIVE_BYTES, ge=1, le=10**13, description="download: size of the archive")
    manifest: str | None = Field(
        None,
        description="CSV with path, sha256, bytes of every clip, for verify, and for download from a mirror of"
        " plain files",
    )
    split: Ucf101Split = Ucf101Split()
    sample: Ucf101Sample = Ucf101Sample()
