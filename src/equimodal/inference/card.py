"""The model card of an exported model, filled from what was measured of it."""

from collections.abc import Sequence
from pathlib import Path

from equimodal.inference.model import TrainedModel, summary
from equimodal.report.information import sizes_line, warning_lines
from equimodal.report.names import method_name
from equimodal.report.overview import number, percent
from equimodal.report.result import Result, Spread
from equimodal.report.rules import RULES, SAMPLE_NOTE
from equimodal.store import read_json

Numbers = dict[str, str]
"""What was measured -> the number, as it is shown."""


def measured(source: Path, paths: list[Path]) -> Numbers:
    """Numbers on the test split: of a result over its seeds, else of the one model's evaluation beside it, if there is
    one; {} without any.
    """
    if source.suffix == ".json":
        result = Result.read(source)
        best = result.selection.val
        alone = best.modalities.get(result.own_readout, {})
        found = {"accuracy": percent(best.accuracy), "macro-F1": percent(best.macro_f1)}
        if best.errors is not None:
            found = {
                "mean absolute error": number(best.errors.mae),
                "correlation": number(best.errors.pearson),
                **found,
            }
        return {**found, **{f"accuracy of {name} alone": percent(value) for name, value in alone.items()}}
    beside = paths[0].with_name("evaluation.json")
    rule = paths[0].stem
    if len(paths) > 1 or not beside.is_file():
        return {}
    test = read_json(beside)["selection"].get(rule, {}).get("test")
    if test is None:
        return {}
    found = {"accuracy": _one(test["accuracy"]), "macro-F1": _one(test["macro_f1"])}
    if "errors" in test:
        found = {"mean absolute error": f"{test['errors']['mae']:.3f}", **found}
    own = test["modalities"].get("split", test["modalities"]["zero-feature"])
    return {**found, **{f"accuracy of {name} alone": _one(value) for name, value in own.items()}}


def warned(source: Path) -> list[str]:
    """How many samples a result's numbers are of, and why they say little; nothing of a single model."""
    if source.suffix != ".json":
        return []
    result = Result.read(source)
    return [sizes_line([result]), *(f"Warning: {line}" for line in warning_lines([result]))]


def card(model: TrainedModel, numbers: Numbers, onnx: bool, notes: Sequence[str] = ()) -> str:
    """Markdown with the front matter of the Hugging Face hub; `notes` stand below the numbers."""
    about = model.about
    sample = about.source == "sample"
    lines = [
        "---",
        "library_name: equimodal",
        "tags: [multimodal, equimodal" + (", generated-sample]" if sample else "]"),
        "---",
        "",
        f"# {method_name(about.method)} on {about.dataset}",
        "",
        f"{summary(model)}. Trained by equimodal {about.version}.",
        "",
    ]
    if sample:
        lines += [f"**{SAMPLE_NOTE[0].upper()}{SAMPLE_NOTE[1:]}.**", ""]
    lines += ["## What it reads and says", ""]
    for entry in about.inputs:
        lines.append(f"- `{entry.name}`: {entry.kind}, a row of shape {entry.shape}")
    if model.classes:
        lines.append(f"- one of {len(model.classes)} classes: {', '.join(model.classes)}")
    else:
        span = about.regression or {}
        lines.append(f"- a number from {span.get('low')} to {span.get('high')}")
    lines += ["", "## Use", "", "    import equimodal", '    equimodal.load("FOLDER").predict(["clip.mp4"])', ""]
    lines += ["or `equimodal predict FOLDER clip.mp4`. Loading executes nothing of what the folder holds."]
    if onnx:
        lines += [
            "`model.onnx` takes the same rows, a batch of any size, as features make them of media (config.json says"
            " how); crop and normalisation are in it.",
        ]
    lines += ["", "## Data and protocol", ""]
    lines += [
        f"- dataset {about.dataset}, source {about.source}, protocol {about.protocol}, digest {about.data_digest[:12]}",
        f"- weights: {RULES[about.rule]}; seeds {', '.join(map(str, model.seeds))}",
        f"- clips that lack a modality were {'left out' if about.missing == 'reject' else 'filled with zeros'}",
    ]
    lines += ["", "## Measured on the test split", ""]
    if numbers:
        several = " Mean ± standard deviation over seeds, of one model each." if len(model.seeds) > 1 else ""
        lines += [f"Percent, errors in the labels' unit.{several}", "", "| | |", "|---|---:|"]
        lines += [f"| {name} | {value} |" for name, value in numbers.items()]
        if len(model.seeds) > 1:
            lines += ["", "Predictions of this folder are the seeds' mean, which was not measured."]
        for note in notes:
            lines += ["", note]
    else:
        lines += ["Nothing was measured of these weights."]
    lines += [
        "",
        "## Limits",
        "",
        "- It knows the classes, the recording conditions and the people of its training data; nothing says how it does"
        " on others.",
        "- Its probabilities are those of a softmax and were not calibrated.",
    ]
    return "\n".join(lines) + "\n"


def _one(value: float) -> str:
    return percent(Spread(mean=value, std=None, per_seed=[value]))
