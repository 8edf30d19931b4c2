"""CMU-MOSI: 2,199 opinions of 89 speakers in 93 videos, from -3 to 3, as features of text, audio and vision (Zadeh et al. 2016)."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from equimodal.datasets.base import DatasetKind, FileFact, Listing, Sample, size_of
from equimodal.errors import UserError
from equimodal.features.arrays import locator
from equimodal.settings.base import Settings
from equimodal.settings.datasets import DatasetSettings, SplitSettings
from equimodal.settings.features import ArraySettings, SequenceSettings
from equimodal.store import canonical_json, disk_error, file_sha256

SEGMENTS = 2199
# Rule -> names of the two classes, and the class of a label of zero (None: it is dropped).
RULES: dict[str, tuple[tuple[str, str], int | None]] = {
    "nonneg": (("negative", "nonnegative"), 1),
    "positive": (("nonpositive", "positive"), 0),
    "drop-zero": (("negative", "positive"), None),
}
PACKAGINGS = "mosi_data.pkl or mosi_raw.pkl (MultiBench) or unaligned_50.pkl (MMSA)"


def _sequence(length: int, width: int, standardize: bool = True) -> dict[str, Any]:
    return {"kind": "sequence", "length": length, "width": width, "nonfinite": "zero", "standardize": standardize}


class MosiSample(Settings):
    """The generated stand-in: three sequences a segment, text telling most."""

    videos: int = Field(60, ge=4, description="videos, of a speaker each; 58 % train, 11 % validate, the rest test")
    segments: int = Field(16, ge=2, description="segments a video")
    lengths: dict[Literal["text", "audio", "vision"], int] = Field({"text": 16, "audio": 32, "vision": 24}, description="steps of the longest sequences")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _lengths_of_all(self) -> Self:
        if len(self.lengths) < 3 or min(self.lengths.values()) < 2:
            raise ValueError("lengths needs text, audio and vision, each of 2 steps or more")
        return self


class MosiSettings(DatasetSettings):
    """CMU-MOSI: 2,199 segments, 93 videos, labels in [-3, 3]; text, audio and vision as sequences."""

    # methods.md 23.4. The three sources differ in features and in what a label of 0 is.
    protocols: ClassVar[dict[str, dict[str, Any]]] = {
        # mosi_data.pkl, MultiBench and MulT: GloVe 300, COVAREP 5, FACET 20, aligned to words; 0 counts as negative
        "aligned": {"labels": "positive", "split": {"rule": "column"}, "modalities": {
            "text": _sequence(50, 300, False), "audio": _sequence(50, 5), "visual": _sequence(50, 20)}},
        # mosi_raw.pkl, MultiBench: GloVe 300, COVAREP 74, FACET 35
        "raw": {"labels": "positive", "split": {"rule": "column"}, "modalities": {
            "text": _sequence(50, 300, False), "audio": _sequence(50, 74), "visual": _sequence(50, 35)}},
        # unaligned_50.pkl, MMSA, ReconBoost, BalanceBenchmark: BERT 768, COVAREP 5, FACET 20; negative against non-negative
        "unaligned": {"labels": "nonneg", "split": {"rule": "column"}, "modalities": {
            "text": _sequence(50, 768, False), "audio": _sequence(375, 5), "visual": _sequence(500, 20)}},
    }  # fmt: skip
    takes_arrays: ClassVar[bool] = True

    kind: Literal["mosi"]
    split: SplitSettings = SplitSettings(rule="column")
    source: Literal["sample", "local", "download"] = "sample"
    raw: str = Field("data/mosi/copy/mosi_raw.pkl", description="local: the packaging, a .pkl file; download: where it is fetched to")
    url: str | None = Field(None, description="download: address of a packaging; there is no official one")
    sha256: str | None = Field(None, description="download: checksum of that file")
    labels: Literal["nonneg", "positive", "drop-zero"] = Field(
        "nonneg", description="two classes: negative and the rest; the rest and positive; negative and positive, zeros left out. Not for task: regression"
    )
    sample: MosiSample = MosiSample()

    @model_validator(mode="after")
    def _known_modalities(self) -> Self:
        for name, feature in self.modalities.items():
            if name not in NAMES:
                raise ValueError(f"modality '{name}' is none of CMU-MOSI's: {', '.join(NAMES)}")
            if not isinstance(feature, SequenceSettings) or feature.file or feature.column or feature.key or feature.lengths:
                raise ValueError(f"modality {name} must be kind: sequence without file, column, key and lengths, which the packaging tells")
        return self


# What a modality of params.yaml is called in the packagings.
NAMES = {"text": "text", "audio": "audio", "visual": "vision", "vision": "vision"}


class Mosi(DatasetKind):
    """A packaging, read once and kept as one array a modality; the group is the video."""

    settings: MosiSettings

    @property
    def root(self) -> str:
        """data/D/raw: the arrays are there, whatever the source."""
        return self.produced.as_posix()

    def acquire(self, scratch: Path) -> dict[str, FileFact]:
        """Writes text.npy, text_lengths.npy, ... and samples.json; `sample` also the packaging they are read from."""
        from equimodal.datasets import mosi_sample
        from equimodal.datasets.mosi_pickle import read_packaging

        settings = self.settings
        source = scratch / "mosi_sample.pkl" if settings.source == "sample" else Path(settings.raw)
        if settings.source == "sample":
            mosi_sample.write(source, settings.sample)
        else:
            self.check_apart(str(source))
            if settings.source == "download":
                self._download(source)
        size_of(source, f"set {self.key('raw')} to {PACKAGINGS}, or {self.key('source')}: download | sample (docs/datasets/mosi.md says where to get one)")
        found = read_packaging(source, self.key("raw"))
        for name, array in found.arrays.items():
            np.save(scratch / f"{name}.npy", array)
            np.save(scratch / f"{name}_lengths.npy", found.lengths[name].astype(np.int32))
        listed = {
            "packaging": {"name": source.name, "bytes": source.stat().st_size, "sha256": file_sha256(source)},
            "samples": [
                {"id": name, "video": video, "split": split, "label": label}
                for name, video, split, label in zip(found.ids, found.videos, found.splits, found.labels, strict=True)
            ],
        }
        (scratch / "samples.json").write_text(canonical_json(listed, indent=1) + "\n", encoding="utf-8")
        if settings.source != "sample" and len(found.ids) != SEGMENTS:
            print(f"{self.name}: {source} has {len(found.ids)} segments, CMU-MOSI {SEGMENTS:,}: packagings leave some out", file=sys.stderr)
        return {path.name: FileFact(path.stat().st_size, file_sha256(path)) for path in sorted(scratch.iterdir())}

    def _download(self, target: Path) -> None:
        """Fetch the packaging unless it is there; checked before it is read."""
        from equimodal.datasets.transfer import download
        from equimodal.datasets.web import WebError

        url, wanted = self.settings.url, (self.settings.sha256 or "").lower()
        if not url or not wanted:
            raise UserError(
                f"CMU-MOSI's features have no official home: set {self.key('url')} to the address of {PACKAGINGS} and {self.key('sha256')} to its checksum,"
                f" or fetch it yourself and set {self.key('source')}: local and {self.key('raw')}"
            )
        fetched = not target.is_file()
        if fetched:
            try:
                download(url, target)
            except WebError as error:
                raise UserError(f"{error}: what was begun is kept, try again later, or change {self.key('url')}") from None
            except OSError as error:
                raise disk_error(error, target) from error
        found = file_sha256(target)
        if found != wanted:
            if fetched:
                target.unlink()
            advice = "mend the setting or the url" if fetched else "move it away, or mend the setting"
            raise UserError(f"{target} is not the file wanted: its sha256 is {found}, {self.key('sha256')} says {wanted}: {advice}")

    def listing(self, files: Mapping[str, FileFact]) -> Listing:
        """One sample a segment; without words it is rejected, and with rule drop-zero a label of zero is dropped. A regression's labels are the scores."""
        settings, folder = self.settings, Path(self.root)
        listed = json.loads((folder / "samples.json").read_text(encoding="utf-8"))["samples"]
        lengths = {name: np.load(folder / f"{NAMES[name]}_lengths.npy") for name in settings.modalities}
        words = np.load(folder / "text_lengths.npy")
        self._check_widths(folder)
        classes, zero = RULES[settings.labels]
        scores = settings.task == "regression"
        samples, rejected, dropped = [], {}, {}
        for row, entry in enumerate(listed):
            value = entry["label"]
            if words[row] == 0:
                rejected[entry["id"]] = "no text"
            elif value == 0 and zero is None and not scores:
                dropped[entry["id"]] = "label 0 (labels: drop-zero)"
            else:
                paths = {name: locator(f"{NAMES[name]}.npy", row, int(lengths[name][row])) if lengths[name][row] else None for name in lengths}
                label = repr(value) if scores else classes[int(zero or 0) if value == 0 else int(value > 0)]
                samples.append(Sample(entry["id"], label, paths, entry["video"], entry["split"]))
        return Listing(() if scores else classes, samples, rejected=rejected, dropped=dropped)

    def _check_widths(self, folder: Path) -> None:
        """Settings and packaging must mean the same features."""
        for name, feature in self.settings.modalities.items():
            steps, width = np.load(folder / f"{NAMES[name]}.npy", mmap_mode="r").shape[1:]
            if isinstance(feature, ArraySettings) and feature.width != width:
                shapes = f"set it to {width} (and length to at most {steps}), or choose {self.key('protocol')}: {' | '.join(self.settings.protocols)}"
                raise UserError(f"{self.key('modalities')}.{name}.width = {feature.width}, but the packaging's {NAMES[name]} has {width}: {shapes}")
