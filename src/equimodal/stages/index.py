"""Stage index: raw files -> data/D/index.json, the list of samples with label, group, split and files, and what was
rejected and why.
"""

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from equimodal.datasets import targets
from equimodal.datasets.base import FileFact, Listing, Sample
from equimodal.datasets.registry import dataset_kind
from equimodal.datasets.rejections import told
from equimodal.datasets.small_splits import warn_of_small_splits
from equimodal.datasets.splits import SPLITS, assign, counts
from equimodal.datasets.tracks import Tracks, probe, probe_arrays
from equimodal.engines.layout import index_path, raw_manifest_path
from equimodal.errors import UserError
from equimodal.features import pool
from equimodal.features.arrays import locate
from equimodal.params import Params
from equimodal.progress import watched
from equimodal.settings.datasets import DatasetSettings, ListedSettings
from equimodal.settings.features import ArraySettings, Feature
from equimodal.store import read_json, write_json

# Seconds, by the clock, after which a file that does not open is given up; headers take milliseconds.
PATIENCE = 120.0
# Rejected files that are named, one a line.
QUOTED = 20


def run(params: Params, dataset: str) -> None:
    """Write data/D/index.json from data/D/raw/manifest.json and a look into each container.

    Raises:
        UserError: a list that cannot be made, too many rejected, a class absent from a split,
            a regression's label out of range.
    """
    kind = dataset_kind(dataset, params.dataset(dataset), params.runtime.workers)
    files = read_files(dataset)
    listing = kind.listing(files)
    numbers = kind.settings.numbers
    values: dict[str, float] | None = None
    if numbers is not None:
        values = targets.values_of(listing, numbers, dataset)
        listing = targets.as_classes(listing, values, numbers)
    # Before anything is rejected: one broken clip must not move the others
    split = assign(listing, kind.settings.split, dataset)
    tracks = look(kind.root, listing.samples, kind.settings, params.runtime.workers, dataset)
    usable: list[Sample] = []
    rejected = [
        {"id": name, "path": None, "modality": None, "reason": reason}
        for name, reason in sorted(listing.rejected.items())
    ]
    for sample in sorted(listing.samples, key=lambda sample: sample.id):
        reasons = unusable(sample, tracks, kind.settings)
        rejected += reasons
        if not reasons:
            usable.append(sample)
    check_rejected(rejected, len(listing.samples) + len(listing.rejected), kind.settings.max_rejected, dataset)
    if isinstance(kind.settings, ListedSettings) and kind.settings.missing_classes == "drop":
        listing = drop_unusable(listing, usable, split, dataset)
        usable = [sample for sample in usable if sample.label in listing.classes]
    samples = [
        _entry(
            sample,
            values[sample.id] if values is not None else listing.classes.index(sample.label),
            split[sample.id],
        )
        for sample in usable
    ]
    labels, splits = [entry["label"] for entry in samples], [entry["split"] for entry in samples]
    own_validation = any(sample.split == "val" for sample in listing.samples)
    table = (
        targets.counts(labels, splits, numbers, dataset)
        if numbers is not None
        else counts(listing.classes, labels, splits, dataset, own_validation, isinstance(kind.settings, ListedSettings))
    )
    warn_of_small_splits(table, dataset, numbers is None)
    content = {
        "dataset": dataset,
        "kind": kind.settings.kind,
        "source": kind.settings.source,
        "root": kind.root,
        "classes": list(listing.classes),
        "split": {**kind.settings.split.slice(), "counts": table},
        "samples": samples,
        "rejected": rejected,
    }
    if listing.left_out:
        content["dropped_classes"] = dict(listing.left_out)
        print(left_out_line(listing, dataset), file=sys.stderr)
    if listing.dropped:
        content["dropped"] = [{"id": name, "reason": reason} for name, reason in sorted(listing.dropped.items())]
    if numbers is not None:
        content["task"] = "regression"
    if kind.settings.protocol != "custom":
        content["protocol"] = kind.settings.protocol
    if listing.missing is not None:
        content["missing"] = list(listing.missing)
    write_json(index_path(dataset), content)


def read_files(dataset: str) -> dict[str, FileFact]:
    """The raw manifest's files."""
    return {
        path: FileFact(fact["bytes"], fact["sha256"])
        for path, fact in read_json(raw_manifest_path(dataset))["files"].items()
    }


def look(
    root: str, samples: list[Sample], settings: DatasetSettings, workers: int, dataset: str
) -> dict[tuple[str, ...], Tracks]:
    """`File of a sample` -> what is in it; each file is opened once, whatever the number of samples in it."""
    files = {
        file_of(path, settings.modalities[name])
        for sample in samples
        for name, path in sample.paths.items()
        if path is not None
    }
    jobs = [(root, file) for file in sorted(files)]
    limit = pool.Limit[tuple[str, tuple[str, ...]], tuple[tuple[str, ...], Tracks]](
        lambda job: PATIENCE, lambda job: (job[1], Tracks(error=f"stuck: not opened after {PATIENCE:.0f} s"))
    )
    results = pool.run(_look, jobs, workers, lambda job: job[1][0], (__name__, "av"), limit)
    return dict(watched(results, len(jobs), f"{dataset}: looking into files", "files"))


def file_of(path: str, feature: Feature) -> tuple[str, ...]:
    """(path,) of a clip; (path, key) of a file of arrays, "" where there is no key."""
    return (locate(path)[0], feature.key or "") if isinstance(feature, ArraySettings) else (path,)


def _look(job: tuple[str, tuple[str, ...]]) -> tuple[tuple[str, ...], Tracks]:
    root, file = job
    path = Path(root) / file[0]
    return file, probe(str(path)) if len(file) == 1 else probe_arrays(path, file[1] or None)


def unusable(
    sample: Sample, tracks: Mapping[tuple[str, ...], Tracks], settings: DatasetSettings
) -> list[dict[str, Any]]:
    """Why a sample cannot be used, one entry per reason; empty if it can.

    With `missing: zero` a sample without sound or without picture is kept as long as another modality is there.
    """
    absent, broken = [], []
    for modality, path in sample.paths.items():
        feature = settings.modalities[modality]
        found = tracks[file_of(path, feature)] if path is not None else Tracks(error="no such file")
        array, sound = isinstance(feature, ArraySettings), feature.kind == "spectrogram"
        entry = {"id": sample.id, "path": path, "modality": modality}
        if path is None:
            absent.append({**entry, "reason": f"no {modality if array else 'sound' if sound else 'picture'} file"})
        elif found.error is not None:
            broken.append({**entry, "reason": found.error})
        elif array:
            continue  # what a row holds is read once, in the stage features
        elif not (found.audio if sound else found.video):
            absent.append({**entry, "reason": f"no {'audio' if sound else 'video'} track"})
        elif sample.start is not None and found.seconds is not None and sample.start >= found.seconds:
            broken.append({**entry, "reason": f"starts at {sample.start:g} s, but the clip has {found.seconds:g} s"})
    if broken:
        return broken
    if settings.missing == "zero" and len(absent) < len(sample.paths):
        return []
    return absent


def drop_unusable(listing: Listing, usable: list[Sample], split: Mapping[str, str], dataset: str) -> Listing:
    """The listing without the classes of which some split has no usable sample.

    Raises:
        UserError: fewer than two are left.
    """
    found = {(sample.label, split[sample.id]) for sample in usable}
    lost = {
        name: f"no usable clip in split '{absent[0]}' (missing_classes: drop)"
        for name in listing.classes
        if (absent := [part for part in SPLITS if (name, part) not in found])
    }
    kept = tuple(name for name in listing.classes if name not in lost)
    if len(kept) < 2:
        first = f"{next(iter(lost))}: {next(iter(lost.values()))}"
        raise UserError(
            f"{dataset}: {len(kept)} classes have usable clips in every split, at least two are needed ({first}):"
            f" complete the copy, or change datasets.{dataset}.split"
        )
    return replace(listing, classes=kept, left_out={**listing.left_out, **lost})


def left_out_line(listing: Listing, dataset: str) -> str:
    """How many classes are used, and why not the others."""
    reasons = Counter(listing.left_out.values())
    told = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
    return f"{dataset}: {len(listing.classes)} of {len(listing.classes) + len(listing.left_out)} classes used ({told})"


def check_rejected(rejected: list[dict[str, Any]], total: int, limit: float, dataset: str) -> None:
    """Stop when more than a share `limit` of `total` samples is rejected; the reasons go to stderr."""
    ids = {entry["id"] for entry in rejected}
    lines = told(rejected)
    for line in lines[:QUOTED]:
        print(f"{dataset}: rejected {line}", file=sys.stderr)
    if len(lines) > QUOTED:
        print(f"{dataset}: ... and {len(lines) - QUOTED} more", file=sys.stderr)
    if len(ids) > limit * total:
        raise UserError(
            f"{dataset}: {len(ids)} of {total} samples are rejected, more than"
            f" datasets.{dataset}.max_rejected = {limit:g}"
            f" (first: {lines[0]}): mend the files, raise max_rejected, or set missing:"
            " zero for absent tracks"
        )


def _entry(sample: Sample, label: float, split: str) -> dict[str, Any]:
    """One sample as index.json has it."""
    return {
        "id": sample.id,
        "label": label,
        "group": sample.group,
        "split": split,
        "start": sample.start,
        "end": sample.end,
        "paths": dict(sample.paths),
    }
