"""Kinetics-Sounds: 31 classes of Kinetics-400 that are both seen and heard (Arandjelovic and Zisserman 2017);
generated, copied or fetched.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from equimodal.datasets.base import DatasetKind, FileFact, Listing, Sample, size_of, some_of
from equimodal.datasets.classes import choose, wanted
from equimodal.datasets.ks.folder import LAYOUTS, Matching, Name, match, scan
from equimodal.datasets.ks.lists import CLASSES, NAMES, Wanted, read_lists
from equimodal.datasets.ks.settings import KineticsSoundsSample, KineticsSoundsSettings
from equimodal.errors import UserError
from equimodal.features import pool
from equimodal.progress import watched
from equimodal.store import file_sha256, write_json

if TYPE_CHECKING:
    from equimodal.datasets.ks.sample import Clip

# A folder that holds less than this share of the listed clips is taken for the wrong one.
NEARLY_NOTHING = 0.02


class KineticsSounds(DatasetKind):
    """Sound and picture of the same file; the group is the YouTube video."""

    settings: KineticsSoundsSettings

    def acquire(self, scratch: Path) -> dict[str, FileFact]:
        """See the base; writes availability.json beside the raw manifest:
        which listed clips are there, and which are not.
        """
        if self.settings.source == "sample":
            facts = self._generate(scratch)
            self._availability(scratch, self._wanted(self._listed(scratch)), list(facts))
            return facts
        root = Path(self.root)
        self.check_apart(self.root)
        clips = self._wanted(self._listed())
        if self.settings.source == "download":
            self._download(clips)
        if not root.is_dir():
            raise UserError(
                f"{root} (Kinetics clips) is missing: get Kinetics-400 from"
                " https://github.com/cvdfoundation/kinetics-dataset (436 GB, of which about 30 GB"
                f" are on the lists), or set {self.key('raw')} or {self.key('source')}: download | sample"
            )
        files = scan(root)
        matching = self._availability(scratch, clips, files)
        self._check_enough(clips, files, matching)
        return {path: FileFact(size_of(root / path, "check the copy")) for path in sorted(matching.found.values())}

    def _generate(self, scratch: Path) -> dict[str, FileFact]:
        """The stand-in with its lists: sizes and checksums."""
        from equimodal.datasets.ks import sample

        listed = sample.clips(self.settings.sample)
        tasks = [(clip, self.settings.sample, scratch) for clip in listed if not clip.missing]
        facts = {name: _fact(scratch / name) for name in sample.write_lists(listed, scratch)}
        results = pool.run(_write_clip, tasks, self.workers, lambda task: task[0].path, (__name__, "av", "soxr"))
        facts.update(watched(results, len(tasks), f"{self.name}: generating"))
        return facts

    def _download(self, clips: Sequence[Wanted]) -> None:
        """Fetch the listed clips that are not there yet."""
        from equimodal.datasets.ks import archives

        settings = self.settings
        archives.fetch(clips, Path(self.root), settings.url, settings.parts, settings.manifest, self.key)

    def _listed(self, sample: Path | None = None) -> list[Wanted]:
        """The lists; those of the sample lie below its own folder."""
        lists = self.settings.lists.slice()
        if self.settings.source == "sample":
            folder = (sample or self.produced) / "lists"
            lists = {split: str(folder / name) for split, name in NAMES.items()}
        return read_lists(lists, self.key("lists"))

    def _wanted(self, listed: Sequence[Wanted]) -> list[Wanted]:
        """Those of the classes that the settings ask for."""
        chosen = wanted(_classes_of(listed), self.settings, self.name)
        return [item for item in listed if item.label in chosen]

    def _availability(self, scratch: Path, wanted: Sequence[Wanted], files: Sequence[str]) -> Matching:
        """Match, write availability.json, say what a reader must know."""
        matching = match(wanted, files)
        write_json(
            scratch / "availability.json",
            {"dataset": self.name, "source": self.settings.source, **matching.describe(wanted)},
        )
        lines = [
            f"{len(matching.found):,} of {len(wanted):,} listed clips found, {len(matching.missing):,}"
            f" missing ({self.produced}/availability.json)"
        ]
        if matching.others:
            name, paths = next(iter(sorted(matching.others.items())))
            lines.append(
                f"{len(matching.others)} clips have more than one file, one is taken: {name}:"
                f" {matching.found[name]}, not {some_of(paths)}"
            )
        if matching.shared:
            name, path = next(iter(sorted(matching.shared.items())))
            lines.append(
                f"{len(matching.shared)} clips are missing as their file fits another clip of the lists: {name}: {path}"
            )
        if matching.misplaced:
            names = [f"{name} ({matching.found[name]})" for name in matching.misplaced]
            lines.append(
                f"{len(names)} clips lie in the folder of another class, the list is believed: {some_of(names, 3)}"
            )
        for line in lines:
            print(f"{self.name}: {line}", file=sys.stderr)
        return matching

    def _check_enough(self, wanted: Sequence[Wanted], files: Sequence[str], matching: Matching) -> None:
        """Refuse a folder that the lists do not describe."""
        if len(matching.found) > NEARLY_NOTHING * len(wanted):
            return
        there = (
            f"{len(files):,} media files there, such as {files[len(files) // 2]}"
            if files
            else "no .mp4, .mkv or .webm file there"
        )
        raise UserError(
            f"{self.root}: only {len(matching.found)} of {len(wanted):,} listed clips are found ({there};"
            f" looked for {wanted[0].id} and others; understood are {LAYOUTS}): set {self.key('raw')} to the clips,"
            f" or {self.key('lists')} to the lists that belong to them"
        )

    def listing(self, files: Mapping[str, FileFact]) -> Listing:
        """One sample per listed clip that is there; classes are those of the lists, in alphabetical order."""
        listed = self._listed()
        clips = self._wanted(listed)
        matching = match(clips, files)
        there = Counter(item.label for item in clips if item.id in matching.found)
        classes, left_out = choose(_classes_of(listed), there, self.settings, self.name, self.root)
        clips = [item for item in clips if item.label in classes]
        samples = [
            Sample(
                id=item.id,
                label=item.label,
                paths=dict.fromkeys(self.settings.modalities, matching.found[item.id]),
                group=Name.of(item.id).video,
                split=item.split,
                start=item.start,
                end=item.end,
            )
            for item in clips
            if item.id in matching.found
        ]
        lists = {
            split: frozenset(item.id for item in clips if item.split == split)
            for split in dict.fromkeys(item.split for item in clips)
        }
        missing = tuple(sorted(item.id for item in clips if item.id not in matching.found))
        return Listing(classes, samples, lists, missing=missing, left_out=left_out)

    def expected(self, files: Mapping[str, FileFact]) -> Mapping[str, FileFact]:
        """The raw manifest; sizes and checksums of the user's CSV where there is one."""
        if self.settings.source == "sample" or self.settings.manifest is None:
            return files
        from equimodal.datasets.ks.archives import read_facts

        known = read_facts(self.settings.manifest, self.key("manifest"))
        return {path: known.get(Path(path).name, fact) for path, fact in files.items()}


def _classes_of(listed: Sequence[Wanted]) -> tuple[str, ...]:
    """The classes that the lists name, in alphabetical order."""
    labels = {item.label for item in listed}
    return tuple(name for name in CLASSES if name in labels)


def _fact(path: Path) -> FileFact:
    return FileFact(path.stat().st_size, file_sha256(path))


def _write_clip(task: "tuple[Clip, KineticsSoundsSample, Path]") -> tuple[str, FileFact]:
    """Generate one clip: its size and checksum."""
    from equimodal.datasets.ks import sample

    clip, settings, folder = task
    path = sample.write(clip, settings, folder)
    return path, _fact(folder / path)
