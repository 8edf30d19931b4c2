"""Evaluations of several seeds -> one result."""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from equimodal.datasets.small_splits import small_splits
from equimodal.metrics.chance import apart
from equimodal.metrics.spread import interval95, sample_std
from equimodal.report.information import disagreement
from equimodal.report.result import (
    Agreement,
    Availability,
    Calibration,
    Data,
    Errors,
    Estimate,
    Flops,
    Imbalance,
    Method,
    Parameters,
    Result,
    Selection,
    Selections,
    Spread,
    Validation,
)
from equimodal.report.rules import RULES, SAMPLE_NOTE
from equimodal.store import digest


def described(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a result says of its data, of data/D/manifest.json; every evaluation has it."""
    return {
        "dataset": manifest["dataset"],
        "source": manifest["source"],
        "protocol": manifest.get("protocol", "custom"),
        "task": manifest.get("task", "classification"),
        "regression": manifest.get("regression"),
        "split": manifest["split"],
        "used": _used(manifest).model_dump(mode="json"),
    }


def result(seeds: list[int], evaluations: list[dict[str, Any]], step_flops: dict[str, float]) -> Result:
    """The result file's content.

    Args:
        evaluations: evaluation.json of every seed, in the order of `seeds`;
            equal settings and data are the caller's to check.
        step_flops: {"training": of the method's own step} (stage operations).
    """
    first = evaluations[0]
    settings, data = first["meta"]["settings"], first["data"]
    method = {key: value for key, value in settings["method"].items() if key not in ("name", "kind")}
    imbalance = Imbalance(
        gap={
            readout: spread(e["gap"][readout] for e in evaluations) if gap is not None else None
            for readout, gap in first["gap"].items()
        },
        alpha=_by_depth([e["alpha"] for e in evaluations]) if first["alpha"] is not None else None,
        s={name: _by_depth([e["s"][name] for e in evaluations]) for name in first["s"]},
    )
    chosen = Selections(
        **{rule: selection(rule, evaluations) if rule in first["selection"] else None for rule in RULES}
    )
    counts = samples_by_class(first)
    found = Result(
        dataset=data["dataset"],
        source=data["source"],
        note=SAMPLE_NOTE if data["source"] == "sample" else None,
        protocol=data["protocol"],
        task=data["task"],
        regression=data["regression"],
        split=data["split"],
        method=Method(name=settings["method"]["name"], kind=settings["method"]["kind"], settings=method),
        settings=settings,
        settings_digest=digest(settings),
        seeds=seeds,
        classes=first["classes"],
        selection=chosen,
        agreement=agreement(chosen.last, counts),
        imbalance=imbalance,
        calibration=calibration([e.get("calibration") for e in evaluations]),
        parameters=Parameters(**first["parameters"]),
        flops=Flops(**first["flops"], **step_flops),
        data=Data(**data["used"]),
    )
    differing = disagreement(found)
    warnings = [*small_splits(counts, by_class=found.task == "classification"), *([differing] if differing else [])]
    return found.model_copy(update={"warnings": warnings})


def samples_by_class(evaluation: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Split -> class (of a regression: grid value) -> samples that were measured."""
    found = evaluation["selection"]["val"]
    return {
        split: {name: sum(row) for name, row in zip(evaluation["classes"], found[split]["confusion"], strict=True)}
        for split in ("val", "test")
    }


def agreement(last: Selection, counts: dict[str, dict[str, int]]) -> Agreement:
    """Whether validation and test differ, on the weights that neither of them chose: those that validation chose look
    better on it than they are.
    """
    found = apart(
        last.validation.accuracy.per_seed,
        last.accuracy.per_seed,
        (sum(counts["val"].values()), sum(counts["test"].values())),
    )
    return Agreement(difference=found.mean, interval95=found.interval95, p=found.p)


def selection(rule: str, evaluations: list[dict[str, Any]]) -> Selection:
    """One rule's numbers over seeds."""
    found = [e["selection"][rule] for e in evaluations]
    tests = [f["test"] for f in found]
    readouts = [
        {**t["modalities"], "probe": e["probe"]} if rule == "val" else t["modalities"]
        for t, e in zip(tests, evaluations, strict=True)
    ]
    classes = evaluations[0]["classes"]
    size = range(len(classes))
    return Selection(
        label=RULES[rule],
        epochs=[f["epoch"] for f in found],
        accuracy=estimate([t["accuracy"] for t in tests]),
        macro_f1=estimate([t["macro_f1"] for t in tests]),
        modalities={
            readout: {name: spread(r[readout][name] for r in readouts) for name in by}
            for readout, by in readouts[0].items()
        },
        recall={name: statistics.fmean(t["recall"][i] for t in tests) for i, name in enumerate(classes)},
        confusion=[[sum(t["confusion"][i][j] for t in tests) for j in size] for i in size],
        validation=Validation(
            accuracy=spread(f["val"]["accuracy"] for f in found),
            macro_f1=spread(f["val"]["macro_f1"] for f in found),
            errors=errors([f["val"].get("errors") for f in found]),
        ),
        errors=errors([t.get("errors") for t in tests]),
        modality_errors=_modality_errors(rule, evaluations),
    )


def errors(found: list[dict[str, Any] | None]) -> Errors | None:
    """Measures of a regression over seeds; one that any seed lacks is null, since the others' mean would flatter. None
    for classification.
    """
    known = [each for each in found if each is not None]
    if not known:
        return None
    columns = {name: [each[name] for each in known] for name in Errors.model_fields}
    return Errors(**{name: None if None in values else estimate(values) for name, values in columns.items()})


def calibration(found: list[dict[str, Any] | None]) -> Calibration | None:
    """The seeds' calibration, bins pooled; None for a regression, or where a seed's was not measured."""
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None
    counts = np.array([each["count"] for each in known])
    totals = counts.sum(0)

    def pooled(name: str) -> list[float | None]:
        values = np.array([each[name] for each in known], dtype=float)  # None, of an empty bin, is NaN
        sums = np.nansum(counts * values, 0)
        return [float(value / total) if total else None for value, total in zip(sums, totals, strict=True)]

    ece = spread(each["ece"] for each in known)
    return Calibration(ece=ece, count=totals.tolist(), confidence=pooled("confidence"), accuracy=pooled("accuracy"))


def _modality_errors(rule: str, evaluations: list[dict[str, Any]]) -> dict[str, dict[str, Errors]] | None:
    """Readout -> modality -> errors; the probe's for rule val."""
    if "probe_errors" not in evaluations[0]:
        return None
    readouts = [
        e["selection"][rule]["test"]["errors"]["modalities"] | ({"probe": e["probe_errors"]} if rule == "val" else {})
        for e in evaluations
    ]
    found = {
        readout: {name: errors([each[readout][name] for each in readouts]) for name in by}
        for readout, by in readouts[0].items()
    }
    return {readout: {name: each for name, each in by.items() if each is not None} for readout, by in found.items()}


def spread(values: Any) -> Spread:
    """Mean and sample standard deviation of an iterable."""
    listed = [float(value) for value in values]
    return Spread(mean=statistics.fmean(listed), std=sample_std(listed), per_seed=listed)


def estimate(values: Sequence[float]) -> Estimate:
    """The same with the interval of the mean."""
    return Estimate(**spread(values).model_dump(), interval95=interval95(values))


def _by_depth(lines: list[list[float]]) -> list[Spread]:
    return [spread(values) for values in zip(*lines, strict=True)]


def _used(manifest: dict[str, Any]) -> Data:
    counts = Counter(manifest["splits"])
    return Data(
        digest=manifest["digest"],
        samples={split: counts[split] for split in ("train", "val", "test")},
        order=list(manifest["modalities"]),
        modalities={name: entry["kind"] for name, entry in manifest["modalities"].items()},
        rejected=len({entry["id"] for entry in manifest["rejected"]}),
        zero_filled=manifest["zero_filled"],
        availability=Availability(**manifest["availability"]) if "availability" in manifest else None,
        dropped_classes=manifest.get("dropped_classes"),
    )
