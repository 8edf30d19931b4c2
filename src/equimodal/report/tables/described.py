"""What a reader must know of the datasets of a table, in lines for its caption."""

from collections.abc import Iterable

from equimodal.report.information import warning_lines
from equimodal.report.published import sources
from equimodal.report.result import Result
from equimodal.report.rules import SAMPLE_NOTE
from equimodal.report.tables.collection import Collection


def dataset_lines(collection: Collection) -> list[str]:
    """One line per dataset: source, protocol, split, samples, selection rule, seeds; and one for each result that
    differs from the rest; what they warn of.
    """
    lines = []
    for dataset in collection.datasets:
        results = list(collection.on(dataset).values())
        if not results:
            continue
        first = results[0]
        samples = " / ".join(f"{first.data.samples[split]}" for split in ("train", "val", "test"))
        kinds = ", ".join(f"{name} ({kind})" for name, kind in first.data.modalities.items())
        lines.append(
            f"{dataset}: source {first.source}, protocol {first.protocol}, split by {split_rule(first)},"
            f" {samples} samples (train / validation / test), {kinds}; seeds {numbers(first.seeds)};"
            f" weights of the epoch with the highest validation accuracy; data {first.data.digest[:8]}."
        )
        for other in results[1:]:
            unlike = differing(first, other)
            differs = [
                *([f"seeds {numbers(other.seeds)}"] if other.seeds != first.seeds else []),
                *([f"source {other.source}"] if other.source != first.source else []),
                *([f"protocol {other.protocol}"] if other.protocol != first.protocol else []),
                *([f"other settings ({', '.join(unlike)})"] if unlike else []),
                *(
                    [f"other data ({other.data.digest[:8]}): not compared"]
                    if other.data.digest != first.data.digest
                    else []
                ),
            ]
            if differs:
                lines.append(f"{dataset}, {other.method.name}: {', '.join(differs)}.")
        dropped = first.data.dropped_classes
        if dropped:
            lines.append(f"{dataset}: {len(first.classes)} of {len(first.classes) + len(dropped)} classes.")
        lines += [f"Warning: {line}" for line in warning_lines(results)]
    return lines


def differing(first: Result, other: Result) -> list[str]:
    """Settings of model and training that both files have and that differ: such methods were not trained alike."""
    found = []
    for section in ("model", "training"):
        ours, theirs = other.settings.get(section, {}), first.settings.get(section, {})
        found += [f"{section}.{key}" for key in sorted(ours.keys() & theirs.keys()) if ours[key] != theirs[key]]
    return found


def split_rule(result: Result) -> str:
    """The rule that made the splits, in words."""
    rule = str(result.split.get("rule", "unknown"))
    folds = (
        f", fold {result.split['fold']} of {result.split['folds']}"
        if rule == "actor" and {"fold", "folds"} <= result.split.keys()
        else ""
    )
    return {"actor": "actor", "column": "the table's own column"}.get(rule, rule) + folds


def numbers(seeds: Iterable[int]) -> str:
    """0, 1, 2."""
    return ", ".join(map(str, seeds))


def sample_note(collection: Collection) -> str | None:
    """The warning beside numbers of generated samples, or None."""
    found = [dataset for dataset in collection.datasets if collection.sampled(dataset)]
    return f"{', '.join(found)}: {SAMPLE_NOTE}." if found else None


def source_lines(collection: Collection, cited: Iterable[str]) -> list[str]:
    """A line for each paper whose numbers are shown, and one where they are left out."""
    shown = set(cited)
    lines = [
        f"[{name}] {source.cite}. Its protocol: {source.protocol}."
        for name, source in sources().items()
        if name in shown
    ]
    if lines:
        lines.append(
            "Printed numbers, [..], are copied from papers and not measured here. They are of other splits,"
            " front ends and rules of selection than ours."
        )
    if any(
        dataset in source.datasets
        for dataset in collection.datasets
        if collection.sampled(dataset)
        for source in sources().values()
    ):
        lines.append("Papers' numbers are left out beside generated samples: they are of other data.")
    return lines
