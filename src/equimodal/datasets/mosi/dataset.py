"""CMU-MOSI: 2,199 opinions of 89 speakers in 93 videos, from -3 to 3,
as features of text, audio and vision (Zadeh et al. 2016).
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from equimodal.datasets.base import DatasetKind, FileFact, Listing, Sample, size_of
from equimodal.datasets.mosi.settings import NAMES, MosiSettings
from equimodal.datasets.pointers import REASON, is_pointer
from equimodal.errors import UserError
from equimodal.features.arrays import locator
from equimodal.settings.features import ArraySettings
from equimodal.store import canonical_json, disk_error, file_sha256

SEGMENTS = 2199
# Rule -> names of the two classes, and the class of a label of zero (None: it is dropped).
RULES: dict[str, tuple[tuple[str, str], int | None]] = {
    "nonneg": (("negative", "nonnegative"), 1),
    "positive": (("nonpositive", "positive"), 0),
    "drop-zero": (("negative", "positive"), None),
}
PACKAGINGS = "mosi_data.pkl or mosi_raw.pkl (MultiBench) or unaligned_50.pkl (MMSA)"


class Mosi(DatasetKind):
    """A packaging, read once and kept as one array per modality; the group is the video."""

    settings: MosiSettings

    @property
    def root(self) -> str:
        """data/D/raw: the arrays are there, whatever the source."""
        return self.produced.as_posix()

    def acquire(self, scratch: Path) -> dict[str, FileFact]:
        """Writes text.npy, text_lengths.npy, ... and samples.json; `sample` also the packaging they are read from."""
        from equimodal.datasets.mosi import sample
        from equimodal.datasets.mosi.packaging import read_packaging

        settings = self.settings
        source = scratch / "mosi_sample.pkl" if settings.source == "sample" else Path(settings.raw)
        if settings.source == "sample":
            sample.write(source, settings.sample)
        else:
            self.check_apart(str(source))
            if settings.source == "download":
                self._download(source)
        size_of(
            source,
            f"set {self.key('raw')} to {PACKAGINGS}, or {self.key('source')}: download | sample"
            " (docs/datasets/mosi.md says where to get one)",
        )
        if is_pointer(source):
            raise UserError(f"{source} is {REASON}, or set {self.key('raw')} to {PACKAGINGS}")
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
            print(
                f"{self.name}: {source} has {len(found.ids)} segments, CMU-MOSI {SEGMENTS:,}: packagings"
                " leave some out",
                file=sys.stderr,
            )
        return {path.name: FileFact(path.stat().st_size, file_sha256(path)) for path in sorted(scratch.iterdir())}

    def _download(self, target: Path) -> None:
        """Fetch the packaging unless it is there; checked before it is read."""
        from equimodal.datasets.fetch.transfer import download
        from equimodal.datasets.fetch.web import WebError

        url, wanted = self.settings.url, (self.settings.sha256 or "").lower()
        if not url or not wanted:
            raise UserError(
                f"CMU-MOSI's features have no official home: set {self.key('url')} to the address of"
                f" {PACKAGINGS} and {self.key('sha256')} to its checksum,"
                f" or fetch it yourself and set {self.key('source')}: local and {self.key('raw')}"
            )
        fetched = not target.is_file()
        if fetched:
            try:
                download(url, target)
            except WebError as error:
                raise UserError(
                    f"{error}: what was begun is kept, try again later, or change {self.key('url')}"
                ) from None
            except OSError as error:
                raise disk_error(error, target) from error
        found = file_sha256(target)
        if found != wanted:
            if fetched:
                target.unlink()
            advice = "mend the setting or the url" if fetched else "move it away, or mend the setting"
            raise UserError(
                f"{target} is not the file wanted: its sha256 is {found}, {self.key('sha256')} says {wanted}: {advice}"
            )

    def listing(self, files: Mapping[str, FileFact]) -> Listing:
        """One sample per segment; without words it is rejected, and with rule drop-zero a label of zero is dropped. A
        regression's labels are the scores.
        """
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
                paths = {
                    name: locator(f"{NAMES[name]}.npy", row, int(lengths[name][row])) if lengths[name][row] else None
                    for name in lengths
                }
                label = repr(value) if scores else classes[int(zero or 0) if value == 0 else int(value > 0)]
                samples.append(Sample(entry["id"], label, paths, entry["video"], entry["split"]))
        return Listing(() if scores else classes, samples, rejected=rejected, dropped=dropped)

    def _check_widths(self, folder: Path) -> None:
        """Settings and packaging must mean the same features."""
        for name, feature in self.settings.modalities.items():
            steps, width = np.load(folder / f"{NAMES[name]}.npy", mmap_mode="r").shape[1:]
            if isinstance(feature, ArraySettings) and feature.width != width:
                shapes = (
                    f"set it to {width} (and length to at most {steps}), or choose {self.key('protocol')}:"
                    f" {' | '.join(self.settings.protocols)}"
                )
                raise UserError(
                    f"{self.key('modalities')}.{name}.width = {feature.width}, but the packaging's"
                    f" {NAMES[name]} has {width}: {shapes}"
                )
