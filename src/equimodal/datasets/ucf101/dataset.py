"""UCF-101: 13,320 clips of 101 actions (Soomro, Zamir and Shah 2012), read as RGB frames and optical flow; generated,
copied or fetched.
"""

import sys
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from equimodal.datasets.base import DatasetKind, FileFact, Listing, Sample, size_of, some_of
from equimodal.datasets.classes import choose
from equimodal.datasets.ucf101.download import ARCHIVE, fetch_archive, fetch_files, read_manifest
from equimodal.datasets.ucf101.lists import STEM, Lists, read_lists
from equimodal.datasets.ucf101.settings import ARCHIVE_BYTES, Ucf101Sample, Ucf101Settings
from equimodal.errors import UserError
from equimodal.features import pool
from equimodal.progress import watched
from equimodal.store import file_sha256

if TYPE_CHECKING:
    from equimodal.datasets.ucf101.sample import Clip

CLIPS = 13_320
LISTS = "ucfTrainTestlist"  # the folder's name in the official archive


class Ucf101(DatasetKind):
    """Every modality is read from the one avi; the group is the gNN of v_Class_gNN_cNN, over all classes: clips of one
    source video share it.
    """

    settings: Ucf101Settings

    def acquire(self, scratch: Path) -> dict[str, FileFact]:
        """See the base; `download` leaves finished files alone and resumes the others."""
        if self.settings.source == "sample":
            return self._generate(scratch)
        raw = Path(self.root)
        self.check_apart(self.root)
        if self.settings.source == "download":
            self._download(raw)
        return self._scan(raw)

    def _generate(self, scratch: Path) -> dict[str, FileFact]:
        """The stand-in with its list files, with sizes and checksums."""
        from equimodal.datasets.ucf101 import sample

        for name, text in sample.list_files(self.settings.sample).items():
            (scratch / LISTS).mkdir(exist_ok=True)
            (scratch / LISTS / name).write_text(text, encoding="ascii")
        facts = {path.relative_to(scratch).as_posix(): _fact(path) for path in sorted((scratch / LISTS).iterdir())}
        tasks = [(clip, self.settings.sample, scratch) for clip in sample.clips(self.settings.sample)]
        results = pool.run(
            _write_clip, tasks, self.workers, lambda task: task[0].stem, (__name__, sample.__name__, "av")
        )
        return facts | dict(watched(results, len(tasks), f"{self.name}: generating"))

    def _download(self, raw: Path) -> None:
        """Fetch what is not there yet."""
        if self.settings.manifest is None:
            fact = FileFact(self.settings.bytes, self.settings.sha256)
            return fetch_archive(raw, fact, self.settings.url or ARCHIVE, f"datasets.{self.name}")
        if self.settings.url is None:
            raise UserError(
                f"{self.key('manifest')} is set, so {self.key('url')} must name the folder of the mirror; or"
                " set manifest: null for UCF101.rar"
            )
        return fetch_files(
            read_manifest(Path(self.settings.manifest), self.key("manifest")), raw, self.settings.url, self.key("url")
        )

    def _scan(self, raw: Path) -> dict[str, FileFact]:
        """What is in the user's folder: {UCF-101/}{Class/}v_*.avi."""
        advice = (
            f"get UCF101.rar ({ARCHIVE_BYTES / 1e9:.1f} GB) from {ARCHIVE} and unpack it there, or set"
            f" {self.key('raw')} or {self.key('source')}: download | sample"
        )
        base = raw / "UCF-101" if (raw / "UCF-101").is_dir() else raw
        if not base.is_dir():
            raise UserError(f"UCF-101's folder {raw} is missing: {advice}")
        facts: dict[str, FileFact] = {}
        places: dict[str, str] = {}
        for path in _media(base):
            if STEM.fullmatch(path.stem):
                name = path.relative_to(raw).as_posix()
                if path.stem in places:
                    raise UserError(
                        f"{path.stem} is there twice, as {places[path.stem]} and {name} in {raw}: remove one"
                    )
                places[path.stem] = name
                facts[name] = FileFact(size_of(path, "check the copy"))
        if not facts:
            raise UserError(f"no UCF-101 clip (as UCF-101/Archery/v_Archery_g01_c01.avi) in {raw}: {advice}")
        if len(facts) != CLIPS:
            print(f"{self.name}: {len(facts)} clips in {raw}, UCF-101 has {CLIPS:,}", file=sys.stderr)
        return facts

    def listing(self, files: Mapping[str, FileFact]) -> Listing:
        """One sample per clip; with rule `lists` also the listed clips that are absent, which the index then rejects
        with the reason.
        """
        split = self.settings.split
        folder = f"{self.root}/{LISTS}" if self.settings.source == "sample" else split.lists
        lists = read_lists(folder, split.list, self.key("split.lists"))
        found = {stem: name for name in files if name.endswith(".avi") and STEM.fullmatch(stem := Path(name).stem)}
        labels = {stem: lists.class_of(stem) for stem in found}
        strange = sorted(stem for stem, label in labels.items() if label is None)
        if strange and self.settings.classes is None:
            raise UserError(
                f"{len(strange)} clips in {self.root} are of no class of {lists.home}/classInd.txt"
                f" ({some_of(strange)}): take them out, mend the lists, or name the classes to use in"
                f" {self.key('classes')}"
            )
        listed = {**lists.parts["train"], **lists.parts["test"]} if split.rule == "lists" else {}
        classes, left_out = choose(
            lists.classes,
            Counter(label for label in labels.values() if label is not None),
            self.settings,
            self.name,
            self.root,
            Counter(listed.values()),
        )
        found = {stem: name for stem, name in found.items() if labels[stem] in classes}
        listed = {stem: label for stem, label in listed.items() if label in classes}
        self._report(found, listed)
        samples = [self._sample(stem, found.get(stem), lists) for stem in sorted(found.keys() | listed.keys())]
        parts = {part: frozenset(clips) for part, clips in lists.parts.items()} if split.rule == "lists" else None
        return Listing(classes, samples, parts, left_out=left_out)

    def _report(self, found: Mapping[str, str], listed: Mapping[str, str]) -> None:
        """Say where list and folder disagree: unlisted clips stop,
        absent ones are counted against max_rejected by the index.
        """
        unlisted, absent = sorted(found.keys() - listed.keys()) if listed else [], sorted(listed.keys() - found.keys())
        if unlisted:
            others = f", and {len(absent)} listed clips are not in the folder ({some_of(absent)})" if absent else ""
            raise UserError(
                f"list and folder disagree: {len(unlisted)} clips in {self.root} are on neither list"
                f" ({some_of(unlisted)}){others}: take them out,"
                f" or set {self.key('split.lists')} to lists that name them"
            )
        if absent:
            print(
                f"{self.name}: {len(absent)} of {len(listed)} listed clips are not in {self.root}:"
                f" {some_of(absent, 20)}",
                file=sys.stderr,
            )

    def _sample(self, stem: str, path: str | None, lists: Lists) -> Sample:
        match = STEM.fullmatch(stem)
        label = lists.class_of(stem)
        assert match is not None and label is not None
        return Sample(id=stem, label=label, paths=dict.fromkeys(self.settings.modalities, path), group=f"g{match[2]}")

    def expected(self, files: Mapping[str, FileFact]) -> Mapping[str, FileFact]:
        """The manifest of the settings where there is one: nothing is published of UCF-101's clips."""
        return (
            files
            if self.settings.source == "sample" or self.settings.manifest is None
            else read_manifest(Path(self.settings.manifest), self.key("manifest"))
        )

    def strays(self, expected: Collection[str]) -> list[str]:
        """Other films beside the clips."""
        raw = Path(self.root)
        base = raw / "UCF-101" if (raw / "UCF-101").is_dir() else raw
        return sorted({path.relative_to(raw).as_posix() for path in _media(base)} - set(expected))


def _media(base: Path) -> list[Path]:
    """Where clips may lie: {Class/}*.avi."""
    return sorted([*base.glob("*.avi"), *base.glob("*/*.avi")])


def _fact(path: Path) -> FileFact:
    return FileFact(path.stat().st_size, file_sha256(path))


def _write_clip(task: "tuple[Clip, Ucf101Sample, Path]") -> tuple[str, FileFact]:
    """Generate one clip: its path, size and checksum."""
    from equimodal.datasets.ucf101 import sample

    clip, settings, folder = task
    sample.write(clip, settings, folder / "UCF-101")
    return f"UCF-101/{clip.path}", _fact(folder / "UCF-101" / clip.path)
