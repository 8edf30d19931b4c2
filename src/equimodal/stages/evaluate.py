"""Stage evaluate: the measures of one trained model, for the weights of each selection rule."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from equimodal.engines.layout import manifest_path, model_folder
from equimodal.errors import UserError
from equimodal.evaluation import operations
from equimodal.evaluation.depth import imbalance, unimodal_gap
from equimodal.evaluation.observe import ClassStatistics, Decisions, Features, Scores, TrueClassProbability, observe
from equimodal.evaluation.probe import fit_linear_probe, fit_probe
from equimodal.inference.columns import columns
from equimodal.metrics.calibration import calibration
from equimodal.metrics.classification import accuracy, confusion, macro_f1, recall
from equimodal.metrics.regression import errors
from equimodal.models.framework import MultimodalModel
from equimodal.objectives import Objective, Regression
from equimodal.params import Params
from equimodal.report.aggregate import described
from equimodal.report.rules import RULES
from equimodal.stages.setup import Setup
from equimodal.store import canonical_json, read_json, read_tensors, stated_sha256, write_json, write_table
from equimodal.tracking import clock
from equimodal.training.building import load_weights
from equimodal.training.state import check_order


def run(params: Params, dataset: str, method: str, seed: int) -> None:
    """Evaluate {val,last,test}.safetensors on the validation and test splits; write evaluation.json. Rule `test` is
    left out where nothing was chosen by it (`training.test_every_epoch`).

    What needs a pass over the training split (linear probe, s and alpha by depth) is measured
    for rule `val`, the result; what that model says of every sample goes to predictions.parquet.
    """
    begun = clock.begun()
    setup = Setup.open(params, dataset, method, seed)
    folder = model_folder(dataset, method, seed)
    check_trained_so(setup, folder / "curves.json")
    rules = RULES if setup.params.training_of(dataset).test_every_epoch else [rule for rule in RULES if rule != "test"]
    weights = {rule: folder / f"{rule}.safetensors" for rule in rules}
    selection: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    scores: dict[str, Scores] = {}
    by_epoch: dict[int, Any] = {}  # rules often agree on the epoch, and then on the weights
    for rule, path in weights.items():
        model, meta = load(setup, path)
        if rule == "val":
            by_epoch[meta["epoch"]], chosen, scores = with_training_split(setup, model)
            chosen |= {"parameters": operations.parameters(model), "flops": flops(setup, model)}
        elif meta["epoch"] not in by_epoch:
            by_epoch[meta["epoch"]] = by_split(setup, model)
        selection[rule] = {"epoch": meta["epoch"], **by_epoch[meta["epoch"]]}
    run_meta = setup.meta("evaluate", setup.key("evaluate", list(weights.values())))
    content = {
        "meta": run_meta,
        "data": described(setup.data.manifest),
        "classes": setup.data.classes,
        "selection": selection,
        **chosen,
    }
    write_table(folder / "predictions.parquet", predictions(setup, scores))
    write_json(folder / "evaluation.json", content)
    clock.end(run_meta["key"], begun)


def check_trained_so(setup: Setup, curves: Path) -> None:
    """Refuse weights that were trained with other settings or data than those at hand: some differences (a stride)
    would load without a word.
    """
    meta = read_json(curves)["meta"]
    again = f"train it again (snakemake --cores 4 -- {curves})"
    if meta["data_digest"] != setup.data.manifest["digest"]:
        raise UserError(
            f"{curves.parent} was trained on other data than {manifest_path(setup.dataset)} describes: {again}"
        )
    for section, values in setup.slices("train").items():
        before = meta["settings"].get(section, {})
        for key in sorted({*before, *values}):
            trained, value = before.get(key), values.get(key)
            if canonical_json(trained) != canonical_json(value):
                raise UserError(
                    f"{curves.parent} was trained with {section}.{key} = {canonical_json(trained)},"
                    f" params.yaml now says {canonical_json(value)}: {again}"
                )


def load(setup: Setup, path: Path) -> tuple[MultimodalModel, dict[str, Any]]:
    """A trained model and what its file says of it: {"rule", "epoch", "modalities", "structure"}."""
    tensors, meta = read_tensors(path, stated_sha256(path))
    model = setup.model(meta["structure"])
    check_order(path, meta, model)
    load_weights(model, tensors, path, "params.yaml describes", f"train it again (snakemake --cores 4 -- {path})")
    return model, meta


def by_split(setup: Setup, model: MultimodalModel) -> dict[str, Any]:
    """Measures on {"val", "test"} that need no training data."""
    size = setup.params.training_of(setup.dataset).eval_batch_size
    measured = {}
    for split in ("val", "test"):
        decisions = Decisions(model, setup.data.objective)
        observe(model, setup.data, split, size, [decisions], progress=True)  # type: ignore[arg-type]
        measured[split] = measures(decisions, setup.data.objective)
    return measured


def with_training_split(
    setup: Setup, model: MultimodalModel
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Scores]]:
    """(the same, {"probe", "s", "alpha", "gap", "calibration"} on the test split, and "probe_errors" of a regression,
    what is said of every sample of {"val", "test"}); one pass per split.

    s is measured against class means of the training split at every depth, whatever the method, in units of the spread
    around them: as they are, distances at shallow depths are so small that s is 1/K; divided by the gap between class
    means, s no longer says how wide that gap is.
    """
    size = setup.params.training_of(setup.dataset).eval_batch_size
    objective = setup.data.objective
    statistics, train = ClassStatistics(objective), Features()
    observe(model, setup.data, "train", size, [statistics, train], progress=True)
    scores = TrueClassProbability(statistics.prototypes, statistics.spreads, objective)
    decisions = {split: Decisions(model, objective) for split in ("val", "test")}
    features = {"val": Features(), "test": Features()}
    said = {split: Scores(model, objective) for split in ("val", "test")}
    observe(model, setup.data, "val", size, [decisions["val"], features["val"], said["val"]], progress=True)
    observe(model, setup.data, "test", size, [decisions["test"], features["test"], said["test"], scores], progress=True)
    labels = decisions["test"].labels
    probed = {}
    for name, feature in features["test"].features.items():
        known = (
            (train.features[name], setup.data.split_labels("train")),
            (features["val"].features[name], decisions["val"].labels),
        )
        probed[name] = (
            fit_linear_probe(*known).predict(feature)
            if isinstance(objective, Regression)
            else fit_probe(*known, objective.classes, title=f"linear probe of {name}").predict(feature)
        )
    probe = {name: share(found, labels, objective) for name, found in probed.items()}
    measured = {split: measures(found, objective) for split, found in decisions.items()}
    readouts = {**measured["test"]["modalities"], "probe": probe}
    gap = {readout: unimodal_gap(by_modality) for readout, by_modality in readouts.items()}
    chosen = {"probe": probe, "s": scores.s, "alpha": imbalance(scores.s), "gap": gap, "calibration": None}
    if isinstance(objective, Regression):
        chosen["probe_errors"] = {
            name: errors(found, labels, objective.settings.threshold) for name, found in probed.items()
        }
    else:
        chosen["calibration"] = calibration(torch.from_numpy(said["test"].fused), labels)
    return measured, chosen, said


def predictions(setup: Setup, scores: dict[str, Scores]) -> dict[str, Any]:
    """Columns of the samples of the splits, in the manifest's order: id, split, label, and what `columns` names;
    probabilities as float32.
    """
    manifest, objective = setup.data.manifest, setup.data.objective
    classes = [] if isinstance(objective, Regression) else setup.data.classes
    parts: dict[str, list[Any]] = {}
    for split, said in scores.items():
        rows = [row for row, name in enumerate(manifest["splits"]) if name == split]
        labels = [manifest["labels"][row] for row in rows]
        found = {
            "id": [manifest["ids"][row] for row in rows],
            "split": [split] * len(rows),
            "label": [classes[label] for label in labels] if classes else labels,
            **columns(said.fused, said.alone, classes),
        }
        for name, values in found.items():
            parts.setdefault(name, []).append(values)
    return {
        name: np.concatenate(found).astype(np.float32) if isinstance(found[0], np.ndarray) else [*chain(*found)]
        for name, found in parts.items()
    }


def measures(decisions: Decisions, objective: Objective) -> dict[str, Any]:
    """Accuracy, macro-F1, recall by class, confusion matrix [K, K] (rows: truth),
    and accuracies by readout and modality.

    A regression is read as classes by the nearest grid value, and adds `errors`: its measures (metrics.regression),
    fused and by readout and modality.
    """
    labels = decisions.labels
    matrix = confusion(objective.class_ids(decisions.fused), objective.class_ids(labels), objective.classes)
    measured = {
        "accuracy": accuracy(matrix),
        "macro_f1": macro_f1(matrix),
        "recall": recall(matrix),
        "confusion": matrix.tolist(),
        "modalities": {
            readout: {name: share(found, labels, objective) for name, found in by.items()}
            for readout, by in decisions.readouts.items()
        },
    }
    if isinstance(objective, Regression):
        limit = objective.settings.threshold
        by_readout = {
            readout: {name: errors(found, labels, limit) for name, found in by.items()}
            for readout, by in decisions.readouts.items()
        }
        measured["errors"] = {**errors(decisions.fused, labels, limit), "modalities": by_readout}
    return measured


def share(predicted: Tensor, labels: Tensor, objective: Objective) -> float:
    """Accuracy of predictions, as classes."""
    return int((objective.class_ids(predicted) == objective.class_ids(labels)).sum()) / len(labels)


def flops(setup: Setup, model: MultimodalModel) -> dict[str, float]:
    """Operations per sample of the exported model: inference, and joint training (forward and backward). Those of the
    method's own step are stage operations'.
    """
    shapes, device = setup.data.shapes, setup.data.device
    return {
        "inference": operations.inference_flops(model, shapes, device),
        "training_joint": operations.plain_training_flops(model, shapes, setup.data.objective, device),
    }
