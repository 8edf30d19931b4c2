"""CREMA-D: 7,442 clips of 91 actors in six emotions (Cao et al. 2014); generated, copied or fetched."""

import re
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from equimodal.datasets.base import DatasetKind, FileFact, Listing, Sample, size_of, some_of
from equimodal.datasets.classes import choose
from equimodal.datasets.cremad.public import (
    CLIPS,
    HOME,
    MIRROR,
    ORIGIN_BYTES,
    load_facts,
    ogm_lists,
    published_files,
)
from equimodal.datasets.cremad.settings import CremadSample, CremadSettings
from equimodal.datasets.pointers import pointers, pull
from equimodal.errors import UserError
from equimodal.features import pool
from equimodal.progress import watched
from equimodal.store import file_sha256

if TYPE_CHECKING:
    from equimodal.datasets.cremad.sample import Clip

# Label order of the OGM-GE lists (methods.md 23.1),
# kept for every split rule so that confusion matrices can be laid side by side.
CLASSES = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
FOLDERS = {"AudioWAV": ".wav", "VideoFlash": ".flv"}
_STEM = re.compile(r"(\d{4})_([A-Z]{3})_(NEU|HAP|SAD|FEA|DIS|ANG)_(XX|LO|MD|HI)")


class Cremad(DatasetKind):
    """Sound from AudioWAV/, picture from VideoFlash/; the group is the actor."""

    settings: CremadSettings
    folder_of: ClassVar[dict[bool, str]] = {True: "AudioWAV", False: "VideoFlash"}

    def acquire(self, scratch: Path) -> dict[str, FileFact]:
        """See the base; `download` leaves finished files alone and resumes the others."""
        if self.settings.source == "sample":
            return self._generate(scratch)
        self.check_apart(self.root)
        if self.settings.source == "download":
            self._download()
        return self._scan()

    def _generate(self, scratch: Path) -> dict[str, FileFact]:
        """The stand-in, with sizes and checksums."""
        from equimodal.datasets.cremad import sample

        tasks = [(clip, self.settings.sample, scratch) for clip in sample.clips(self.settings.sample)]
        facts: dict[str, FileFact] = {}
        results = pool.run(_write_clip, tasks, self.workers, lambda task: task[0].stem, (__name__, "av", "soundfile"))
        for made in watched(results, len(tasks), f"{self.name}: generating"):
            facts.update(made)
        return facts

    def _download(self) -> None:
        """Fetch what is not there yet, checked by sha256."""
        from equimodal.datasets.fetch.lfs import fetch

        facts = load_facts(self.settings.manifest, Path(self.root), self.key("manifest"), self.settings.url)
        fetch(facts, Path(self.root), self.settings.url or HOME, self.key("url"), MIRROR)

    def _scan(self) -> dict[str, FileFact]:
        """What is in the user's folder; says what is missing."""
        root = Path(self.root)
        gigabytes = f"{ORIGIN_BYTES / 1e9:.1f} GB"
        advice = (
            f"get CREMA-D from {HOME} (git LFS, {gigabytes} of wav and flv), or set {self.key('raw')} or"
            f" {self.key('source')}: download | sample"
        )
        needed = self._needed
        for folder in needed:
            if not (root / folder).is_dir():
                raise UserError(f"CREMA-D's folder {root / folder} is missing: {advice}")
        facts, strays = {}, []
        for folder, suffix in FOLDERS.items():
            for path in sorted((root / folder).glob(f"*{suffix}")):
                if _STEM.fullmatch(path.stem):
                    facts[f"{folder}/{path.name}"] = FileFact(size_of(path, "check the copy"))
                else:
                    strays.append(f"{folder}/{path.name}")
        stems = {folder: {Path(name).stem for name in facts if name.startswith(folder)} for folder in needed}
        everything = set().union(*stems.values())
        if not everything:
            first = needed[0]
            raise UserError(f"no CREMA-D clip (as 1001_DFA_ANG_XX{FOLDERS[first]}) in {root / first}: {advice}")
        self._check_pointers(facts)
        if strays:
            print(
                f"{self.name}: {len(strays)} files in {root} have no name of CREMA-D's and are left out:"
                f" {some_of(strays, 20)}",
                file=sys.stderr,
            )
        for folder, suffix in ((folder, FOLDERS[folder]) for folder in needed):
            lacking = [f"{folder}/{stem}{suffix}" for stem in sorted(everything - stems[folder])]
            if lacking:
                print(
                    f"{self.name}: {len(lacking)} clips have no {suffix} file: {some_of(lacking, 20)}", file=sys.stderr
                )
        if len(everything) != CLIPS:
            print(
                f"{self.name}: {len(everything)} clips in {root}, CREMA-D has {CLIPS:,}; `equimodal verify"
                f" {self.name}` lists the rest",
                file=sys.stderr,
            )
        return facts

    @property
    def _needed(self) -> list[str]:
        """The folders that the modalities are read from."""
        read = {self.folder_of[feature.kind in self.has_audio] for feature in self.settings.modalities.values()}
        return [folder for folder in FOLDERS if folder in read]

    def _check_pointers(self, facts: Mapping[str, FileFact]) -> None:
        """Refuse a copy whose media git-lfs has not fetched; single pointers are named, and rejected by the index."""
        needed = [name for name in facts if name.partition("/")[0] in self._needed]
        found = pointers(Path(self.root), needed)
        if not found:
            return
        what = (
            f"{len(found)} of {len(needed)} files in {self.root} are git LFS pointers, not media ({some_of(found, 3)})"
        )
        advice = f"{pull(self.root)}, or set {self.key('source')}: download"
        for folder in self._needed:
            if all(name in found for name in needed if name.startswith(folder)):
                raise UserError(f"{what}: {advice}")
        print(f"{self.name}: {what}: {advice}", file=sys.stderr)

    def listing(self, files: Mapping[str, FileFact]) -> Listing:
        """One sample a clip that has sound or picture; ids are CREMA-D's own names."""
        for folder in self._needed if self.settings.missing == "reject" else ():
            if not any(name.startswith(f"{folder}/") for name in files):
                raise UserError(
                    f"no file of {folder}/ in the raw manifest, but a modality is read from it: put the folder into"
                    f" {self.root} and run raw again, or take that modality out of {self.key('modalities')}"
                )
        samples = []
        for stem in sorted({Path(name).stem for name in files}):
            match = _STEM.fullmatch(stem)
            if match is None:
                raise UserError(
                    f"{stem} in the raw manifest is not a CREMA-D name: rebuild data/{self.name}/raw/manifest.json"
                )
            paths: dict[str, str | None] = {}
            for modality, feature in self.settings.modalities.items():
                folder = self.folder_of[feature.kind in self.has_audio]
                path = f"{folder}/{stem}{FOLDERS[folder]}"
                paths[modality] = path if path in files else None
            samples.append(Sample(id=stem, label=match[3], paths=paths, group=match[1]))
        there = Counter(sample.label for sample in samples if any(sample.paths.values()))
        classes, left_out = choose(CLASSES, there, self.settings, self.name, self.root)
        lists = None
        if self.settings.split.rule == "ogm":
            listed = ogm_lists(self.settings.split.lists, self.key("split.lists"))
            lists = {
                part: frozenset(stem for stem in stems if stem.split("_")[2] not in left_out)
                for part, stems in listed.items()
            }
        samples = [sample for sample in samples if sample.label in classes]
        return Listing(classes, samples, lists, left_out=left_out)

    def expected(self, files: Mapping[str, FileFact]) -> Mapping[str, FileFact]:
        """The sample's own manifest, or the published sizes and checksums of all 14,884 files; a folder that is
        neither there nor read from is left out.
        """
        if self.settings.source == "sample":
            return files
        facts = load_facts(self.settings.manifest, Path(self.root), self.key("manifest"), self.settings.url)
        return {name: fact for name, fact in facts.items() if self._matters(name)}

    def names(self) -> Collection[str]:
        """Those of the published files, by the same rule."""
        return [name for name in published_files() if self._matters(name)]

    def _matters(self, name: str) -> bool:
        folder = name.partition("/")[0]
        return folder in self._needed or (Path(self.root) / folder).is_dir()

    def strays(self, expected: Collection[str]) -> list[str]:
        """What else is in the two folders."""
        root = Path(self.root)
        found = [path for folder in FOLDERS for path in (root / folder).glob("[!.]*") if path.is_file()]
        return sorted({path.relative_to(root).as_posix() for path in found} - set(expected))


def _write_clip(task: "tuple[Clip, CremadSample, Path]") -> dict[str, FileFact]:
    """Generate one clip: its files' sizes and checksums."""
    from equimodal.datasets.cremad import sample

    clip, settings, folder = task
    return {
        name: FileFact((folder / name).stat().st_size, file_sha256(folder / name))
        for name in sample.write(clip, settings, folder)
    }
