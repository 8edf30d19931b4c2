"""Settings of CREMA-D."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from equimodal.datasets.cremad.protocols import PROTOCOLS
from equimodal.settings.datasets import ListedSettings, SplitSettings, Url, VideoSample


class CremadSample(VideoSample):
    """The generated stand-in for CREMA-D: its names, its codecs, its imbalance."""

    actors: int = Field(20, ge=2, le=8999, description="speakers, whom splits keep apart")
    clips_per_actor: int = Field(
        36, ge=6, le=72, description="clips of each actor, spread over the six emotions (each at most in 12 sentences)"
    )
    seconds: float = Field(1.2, ge=0.4, le=20, description="length of the longest clips; the shortest have 0.85 of it")


class CremadSplit(SplitSettings):
    """How CREMA-D is divided; it has no split column."""

    rule: Literal["actor", "ogm", "stratified"] = Field(
        "actor",
        description="actor: disjoint actors by folds; ogm: the published 6,698/744 list; stratified: by class, actors"
        " mixed",
    )


class CremadSettings(ListedSettings):
    """CREMA-D: 7,442 clips, 91 actors, six emotions."""

    protocols: ClassVar[dict[str, dict[str, Any]]] = PROTOCOLS

    kind: Literal["cremad"] = Field(description="which dataset it is")
    source: Literal["sample", "local", "download"] = Field(
        "sample", description="sample: generated, for trying out; local: your copy; download: fetched and verified"
    )
    raw: str = Field(
        "data/cremad/copy",
        description="local: folder with AudioWAV/ and VideoFlash/; download: where they are fetched to",
    )
    url: Url | None = Field(
        None, description="download: another home of the repository (a mirror); null is the public one"
    )
    manifest: str | None = Field(
        None,
        description="CSV with path, sha256, bytes of every file, for verify and download; null: read from the LFS"
        " pointers of the mirror or repository",
    )
    split: CremadSplit = CremadSplit()
    sample: CremadSample = CremadSample()
