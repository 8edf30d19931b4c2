"""Stage manifest: the dataset as training sees it. Joins a dataset's features and leaves out what was rejected."""

from collections import Counter
from typing import Any

from equimodal.datasets import targets
from equimodal.datasets.rejections import told
from equimodal.datasets.small_splits import warn_of_small_splits
from equimodal.engines.layout import feature_paths, index_path, manifest_path
from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.settings.datasets import DatasetSettings
from equimodal.store import digest, read_json, write_json

SPLITS = ("train", "val", "test")
# Reasons or classes quoted in a message.
QUOTED = 3


def run(params: Params, dataset: str) -> None:
    """Write data/D/manifest.json.

    Raises:
        UserError: more than `max_rejected` samples rejected, a class absent from a split, fewer than two classes,
            features of another index.
    """
    settings = params.dataset(dataset)
    index = read_json(index_path(dataset))
    features = {modality: read_json(feature_paths(dataset, modality)[1]) for modality in settings.modalities}
    samples = index["samples"]
    for modality, feature in features.items():
        if feature["rows"] != len(samples):
            raise UserError(
                f"{feature_paths(dataset, modality)[1]} has {feature['rows']} rows, {index_path(dataset)}"
                f" {len(samples)} samples: build the features again"
            )
    rejected, zero_filled = reject(features, settings)
    gone = {entry["id"] for entry in rejected}
    paths = {sample["id"]: sample["paths"] for sample in samples}
    named = index["rejected"] + [{**entry, "path": paths[entry["id"]].get(entry["modality"])} for entry in rejected]
    rejected = [{key: entry.get(key) for key in ("id", "modality", "reason")} for entry in named]
    check_share(named, len(samples) + len({entry["id"] for entry in index["rejected"]}), dataset, settings.max_rejected)
    rows = [row for row, sample in enumerate(samples) if sample["id"] not in gone]
    kept = [samples[row] for row in rows]
    numbers = settings.numbers
    if numbers is None:
        check_classes(kept, index["classes"], dataset)
        found = counts(kept, index["classes"])
    else:
        found = targets.counts(
            [sample["label"] for sample in kept], [sample["split"] for sample in kept], numbers, dataset
        )
    warn_of_small_splits(found, dataset, numbers is None)
    content = {
        "dataset": dataset,
        "source": index["source"],
        "task": settings.task,
        "classes": index["classes"],
        "split": {**index["split"], "counts": found},
        "order": list(features),  # of the modalities, as params.yaml declares them: JSON sorts keys
        "modalities": {modality: entry(dataset, feature) for modality, feature in features.items()},
        "rows": rows,
        "ids": [sample["id"] for sample in kept],
        "labels": [sample["label"] for sample in kept],
        "splits": [sample["split"] for sample in kept],
        "groups": [sample["group"] for sample in kept],
        "rejected": rejected,
        "zero_filled": {modality: len(ids - gone) for modality, ids in zero_filled.items()},
    }
    if numbers is not None:
        content["regression"] = numbers.slice()
    content |= {key: index[key] for key in ("protocol", "dropped_classes") if key in index}
    if "missing" in index:
        content["availability"] = availability(content["ids"], index["missing"], rejected)
    write_json(manifest_path(dataset), {**content, "digest": digest(content)})


def availability(kept: list[str], missing: list[str], rejected: list[dict[str, Any]]) -> dict[str, Any]:
    """How much of the clips that the dataset's lists name is here: counts, and a digest that equals another copy's if
    the same clips are used.

    `found` clips have a file; `unreadable` ones of them were rejected all the same, for the reasons that the manifest's
    `rejected` holds.
    """
    unreadable = sorted({entry["id"] for entry in rejected})
    state = {"used": sorted(kept), "missing": sorted(missing), "unreadable": unreadable}
    found = len(kept) + len(unreadable)
    return {
        "digest": digest(state),
        "listed": found + len(missing),
        "found": found,
        "missing": len(missing),
        "unreadable": len(unreadable),
    }


def entry(dataset: str, feature: dict[str, Any]) -> dict[str, Any]:
    """What training needs to know of one modality's array."""
    return {
        "kind": feature["kind"],
        "shape": feature["shape"],
        "dtype": feature["dtype"],
        "notes": feature["notes"],
        **({"lengths": feature["lengths"]} if "lengths" in feature else {}),
        "path": str(feature_paths(dataset, feature["modality"])[0]),
        "sha256": feature["sha256"],
        "mean": feature["stats"]["mean"],
        "std": feature["stats"]["std"],
        "settings": feature["settings"],
    }


def reject(
    features: dict[str, dict[str, Any]], settings: DatasetSettings
) -> tuple[list[dict[str, Any]], dict[str, set[str]]]:
    """Rejected samples in index order, each with its modality and reason, and the ids that `missing: zero` leaves at
    zero by modality.

    A sample that lacks every modality is rejected in any case: nothing of it is left.
    """
    lacking = Counter(absent["id"] for feature in features.values() for absent in feature["missing"])
    found: list[tuple[int, dict[str, Any]]] = []
    zeros: dict[str, set[str]] = {}
    for modality, feature in features.items():
        fillable = {
            absent["id"]
            for absent in feature["missing"]
            if settings.missing == "zero" and lacking[absent["id"]] < len(features)
        }
        zeros[modality] = fillable
        failures = feature["rejected"] + [absent for absent in feature["missing"] if absent["id"] not in fillable]
        found += [
            (failed["row"], {"id": failed["id"], "modality": modality, "reason": failed["reason"]})
            for failed in failures
        ]
    return [entry for _, entry in sorted(found, key=lambda item: item[0])], zeros


def check_share(rejected: list[dict[str, Any]], total: int, dataset: str, allowed: float) -> None:
    """Refuse a dataset of which too much is unusable; `rejected` as `told` takes them.

    Raises:
        UserError: count, share, first reasons, and the settings to change.
    """
    ids = {entry["id"] for entry in rejected}
    if len(ids) <= allowed * total:
        return
    reasons = "; ".join(told(rejected)[:QUOTED])
    raise UserError(
        f"{dataset}: {len(ids)} of {total} samples rejected ({len(ids) / total:.1%},"
        f" datasets.{dataset}.max_rejected = {allowed:g} allows {allowed:.1%}). "
        f"First: {reasons}. Repair or remove these files, raise max_rejected, or set missing: zero where"
        " only a track is missing"
    )


def check_classes(samples: list[dict[str, Any]], classes: list[str], dataset: str) -> None:
    """Refuse what cannot be learned or measured; validation may lack a class (GRID's words have no "h" there).

    Raises:
        UserError: fewer than two classes, or a class without a sample in train or test.
    """
    if len(classes) < 2:
        raise UserError(
            f"{dataset}: {len(classes)} class ({', '.join(classes)}); at least two are needed: check the label column"
        )
    found = counts(samples, classes)
    for split in SPLITS:
        absent = [name for name, count in found[split].items() if not count]
        if not absent:
            continue
        what = (
            f"{dataset}: the {split} split has no sample of {len(absent)} of {len(classes)} classes"
            f" ({', '.join(absent[:QUOTED])})"
        )
        if split == "val" and len(absent) < len(classes):
            continue
        raise UserError(f"{what}: change datasets.{dataset}.split, add samples, or take the class out")


def counts(samples: list[dict[str, Any]], classes: list[str]) -> dict[str, dict[str, int]]:
    """Samples of each class in each split."""
    found = Counter((sample["split"], sample["label"]) for sample in samples)
    return {split: {name: found[split, label] for label, name in enumerate(classes)} for split in SPLITS}
