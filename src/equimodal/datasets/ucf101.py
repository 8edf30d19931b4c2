"""UCF-101: 13,320 clips of 101 actions (Soomro, Zamir and Shah 2012), read as RGB frames and optical flow; generated, copied or fetched."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from equimodal.datasets.base import DatasetKind, FileFact, Listing, Sample, shown, size_of
from equimodal.datasets.ucf101_download import ARCHIVE, ARCHIVE_BYTES, fetch_archive, fetch_files, read_manifest
from equimodal.datasets.ucf101_lists import STEM, Lists, read_lists
from equimodal.errors import UserError
from equimodal.features import pool, progress
from equimodal.settings.datasets import DatasetSettings, SplitSettings, VideoSample
from equimodal.store import file_sha256

if TYPE_CHECKING:
    from equimodal.datasets.ucf101_sample import Clip

CLIPS = 13_320
LISTS = "ucfTrainTestlist"  # the folder's name in the official archive

# What the two protocols share (methods.md 23.3): list 1, six stored frames and pairs of which three are seen, flow of the whole 320 x 240 picture
# bounded to 20 px, ResNet18 that starts from ImageNet.
_FRAMES: dict[str, Any] = {"kind": "frames", "n": 6, "pick": 3, "size": [224, 224], "channels": 3}
_FLOW: dict[str, Any] = {"kind": "flow", "n": 6, "pick": 3, "size": [224, 224], "bound": 20.0, "compute_size": [240, 320]}
_MODEL: dict[str, Any] = {"width": 64, "layers": [2, 2, 2, 2], "frames": "fold", "stem_stride": 2, "stem_pool": True, "weights": "download"}
_AUGMENT: dict[str, Any] = {"crop": False, "flip": True}


class Ucf101Sample(VideoSample):
    """The generated stand-in for UCF-101: its names, its codec, its lists."""

    classes: int = Field(8, ge=2, le=12, description="actions, of the twelve that the sample knows")
    groups: int = Field(15, ge=6, le=99, description="groups a class (UCF-101: 25); 7 in 25 of them are tested")
    clips_per_group: int = Field(4, ge=1, le=99)
    seconds: float = Field(1.0, ge=0.2, le=20, description="length of the longest clips; the shortest have 0.85 of it")


class Ucf101Split(SplitSettings):
    """How UCF-101 is divided: by default as its list files say, validation carved from the training part by groups."""

    rule: Literal["actor", "ogm", "column", "stratified", "lists"] = Field(
        "lists", description="lists: the official list files; actor: groups (g01 to g25) by folds; stratified: by class, groups mixed"
    )
    list: Literal[1, 2, 3] = Field(1, description="rule lists: which of the three official divisions; papers on imbalance use 1")
    lists: str | None = Field(None, description="folder with classInd.txt, trainlist01.txt, testlist01.txt, ...; null downloads them (pinned checksums)")


class Ucf101Settings(DatasetSettings):
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

    kind: Literal["ucf101"]
    source: Literal["sample", "local", "download"] = "sample"
    raw: str = Field("data/ucf101/copy", description="local: folder with UCF-101/ or the clips themselves; download: where they are fetched to")
    url: str | None = Field(None, description="download: home of UCF101.rar, null is the public one; with `manifest`: folder of a mirror of plain files")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="download: checksum of the archive (none is published); null: its size only")
    bytes: int = Field(ARCHIVE_BYTES, ge=1, description="download: size of the archive")
    manifest: str | None = Field(None, description="CSV with path, sha256, bytes of every clip, for verify, and for download from a mirror of plain files")
    split: Ucf101Split = Ucf101Split()
    sample: Ucf101Sample = Ucf101Sample()


class Ucf101(DatasetKind):
    """Every modality is read from the one avi; the group is the gNN of v_Class_gNN_cNN, over all classes: clips of one source video share it."""

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
        from equimodal.datasets import ucf101_sample

        for name, text in ucf101_sample.list_files(self.settings.sample).items():
            (scratch / LISTS).mkdir(exist_ok=True)
            (scratch / LISTS / name).write_text(text, encoding="ascii")
        facts = {path.relative_to(scratch).as_posix(): _fact(path) for path in sorted((scratch / LISTS).iterdir())}
        tasks = [(clip, self.settings.sample, scratch) for clip in ucf101_sample.clips(self.settings.sample)]
        results = pool.run(_write_clip, tasks, self.workers, lambda task: task[0].stem, (__name__, ucf101_sample.__name__, "av"))
        return facts | dict(progress.shown(results, len(tasks), f"{self.name}: generating"))

    def _download(self, raw: Path) -> None:
        """Fetch what is not there yet."""
        if self.settings.manifest is None:
            fact = FileFact(self.settings.bytes, self.settings.sha256)
            return fetch_archive(raw, fact, self.settings.url or ARCHIVE, f"datasets.{self.name}")
        if self.settings.url is None:
            raise UserError(f"{self.key('manifest')} is set, so {self.key('url')} must name the folder of the mirror; or set manifest: null for UCF101.rar")
        return fetch_files(read_manifest(Path(self.settings.manifest), self.key("manifest")), raw, self.settings.url, self.key("url"))

    def _scan(self, raw: Path) -> dict[str, FileFact]:
        """What is in the user's folder: {UCF-101/}{Class/}v_*.avi."""
        advice = (
            f"get UCF101.rar ({ARCHIVE_BYTES / 1e9:.1f} GB) from {ARCHIVE} and unpack it there, or set {self.key('raw')} or"
            f" {self.key('source')}: download | sample"
        )
        base = raw / "UCF-101" if (raw / "UCF-101").is_dir() else raw
        if not base.is_dir():
            raise UserError(f"UCF-101's folder {raw} is missing: {advice}")
        facts: dict[str, FileFact] = {}
        places: dict[str, str] = {}
        for path in sorted([*base.glob("*.avi"), *base.glob("*/*.avi")]):
            if STEM.fullmatch(path.stem):
                name = path.relative_to(raw).as_posix()
                if path.stem in places:
                    raise UserError(f"{path.stem} is there twice, as {places[path.stem]} and {name} in {raw}: remove one")
                places[path.stem] = name
                facts[name] = FileFact(size_of(path, "check the copy"))
        if not facts:
            raise UserError(f"no UCF-101 clip (as UCF-101/Archery/v_Archery_g01_c01.avi) in {raw}: {advice}")
        if len(facts) != CLIPS:
            print(f"{self.name}: {len(facts)} clips in {raw}, UCF-101 has {CLIPS:,}", file=sys.stderr)
        return facts

    def listing(self, files: Mapping[str, FileFact]) -> Listing:
        """One sample a clip; with rule `lists` also the listed clips that are absent, which the index then rejects with the reason."""
        split = self.settings.split
        if split.rule in ("column", "ogm"):
            raise UserError(f"{self.key('split.rule')} = {split.rule} is not for UCF-101: use lists, actor (whole groups) or stratified")
        folder = f"{self.root}/{LISTS}" if self.settings.source == "sample" else split.lists
        lists = read_lists(folder, split.list, self.key("split.lists"))
        found = {stem: name for name in files if name.endswith(".avi") and STEM.fullmatch(stem := Path(name).stem)}
        strange = sorted(stem for stem in found if lists.class_of(stem) is None)
        if strange:
            raise UserError(f"{len(strange)} clips in {self.root} are of no class of classInd.txt ({shown(strange)}): take them out, or mend the lists")
        listed = {**lists.parts["train"], **lists.parts["test"]} if split.rule == "lists" else {}
        self._report(found, listed)
        samples = [self._sample(stem, found.get(stem), lists) for stem in sorted(found.keys() | listed.keys())]
        parts = {part: frozenset(clips) for part, clips in lists.parts.items()} if split.rule == "lists" else None
        return Listing(lists.classes, samples, parts)

    def _report(self, found: Mapping[str, str], listed: Mapping[str, str]) -> None:
        """Say where list and folder disagree: unlisted clips stop, absent ones are counted against max_rejected by the index."""
        unlisted, absent = sorted(found.keys() - listed.keys()) if listed else [], sorted(listed.keys() - found.keys())
        if unlisted:
            others = f", and {len(absent)} listed clips are not in the folder ({shown(absent)})" if absent else ""
            raise UserError(
                f"list and folder disagree: {len(unlisted)} clips in {self.root} are on neither list ({shown(unlisted)}){others}:"
                f" take them out, or set {self.key('split.lists')} to lists that name them"
            )
        if absent:
            print(f"{self.name}: {len(absent)} of {len(listed)} listed clips are not in {self.root}: {shown(absent, 20)}", file=sys.stderr)

    def _sample(self, stem: str, path: str | None, lists: Lists) -> Sample:
        match = STEM.fullmatch(stem)
        label = lists.class_of(stem)
        assert match is not None and label is not None
        return Sample(id=stem, label=label, paths=dict.fromkeys(self.settings.modalities, path), group=f"g{match[2]}")

    def expected(self, files: Mapping[str, FileFact]) -> Mapping[str, FileFact]:
        """The manifest of the settings where there is one: nothing is published of UCF-101's clips."""
        return (
            files if self.settings.source == "sample" or self.settings.manifest is None else read_manifest(Path(self.settings.manifest), self.key("manifest"))
        )


def _fact(path: Path) -> FileFact:
    return FileFact(path.stat().st_size, file_sha256(path))


def _write_clip(task: "tuple[Clip, Ucf101Sample, Path]") -> tuple[str, FileFact]:
    """Generate one clip: its path, size and checksum."""
    from equimodal.datasets import ucf101_sample

    clip, settings, folder = task
    ucf101_sample.write(clip, settings, folder / "UCF-101")
    return f"UCF-101/{clip.path}", _fact(folder / "UCF-101" / clip.path)
