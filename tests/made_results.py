"""Evaluations, curves and logs as the stages write them, made up without training:
what tests of results and figures start from.
"""

import random
from pathlib import Path
from typing import Any

from equimodal.report.aggregate import described, estimate, result
from equimodal.report.cost_file import Cost, Epoch, Fit, Machine, Memory, Run, Time, Weights
from equimodal.report.result import Errors, Result
from equimodal.store import write_json

EPOCHS, START, DEPTHS, DIGEST = 12, 3, 4, "d" * 64


def manifest(
    classes: int = 3, source: str = "sample", modalities: tuple[str, ...] = ("audio", "visual")
) -> dict[str, Any]:
    """What summaries read of data/D/manifest.json; splits of 4, 1 and 2 samples per class."""
    splits = ["train"] * 4 * classes + ["val"] * classes + ["test"] * 2 * classes
    return {
        "dataset": "made",
        "source": source,
        "classes": [f"class {i}" for i in range(classes)],
        "split": {"rule": "column"},
        "splits": splits,
        "order": list(modalities),
        "modalities": {name: {"kind": "spectrogram" if name == "audio" else "frames"} for name in modalities},
        "rejected": [{"id": "a", "modality": "audio", "reason": "x"}, {"id": "a", "modality": "visual", "reason": "x"}],
        "zero_filled": dict.fromkeys(modalities, 0),
        "digest": DIGEST,
    }


def evaluation(
    seed: int,
    method: str = "joint",
    classes: int = 3,
    modalities: tuple[str, ...] = ("audio", "visual"),
    source: str = "sample",
    **settings: Any,
) -> dict[str, Any]:
    """evaluation.json of a seed; numbers drawn from (seed, method)."""
    draw = random.Random(f"{seed}{method}")

    def split() -> dict[str, Any]:
        matrix = [[2 if i == j else 0 for j in range(classes)] for i in range(classes)]
        for _ in range(classes // 2):
            i, j = draw.randrange(classes), draw.randrange(classes)
            matrix[i][i], matrix[i][j] = 1, matrix[i][j] + 1
            if i == j:
                matrix[i][i] = 2
        hits = sum(matrix[i][i] for i in range(classes)) / (2 * classes)
        return {
            "accuracy": hits,
            "macro_f1": hits - 0.01,
            "recall": [row[i] / 2 for i, row in enumerate(matrix)],
            "confusion": matrix,
            "modalities": {readout: by_modality() for readout in ("split", "zero-feature")},
        }

    def by_modality() -> dict[str, float]:
        return {name: 0.7 - 0.35 * i + draw.uniform(-0.05, 0.05) for i, name in enumerate(modalities)}

    selection = {
        rule: {"epoch": EPOCHS - 1 - draw.randrange(3), "val": split(), "test": split()}
        for rule in ("val", "last", "test")
    }
    probe = by_modality()
    two = len(modalities) > 1
    return {
        "meta": {
            "dataset": "made",
            "method": method,
            "seed": seed,
            "stage": "evaluate",
            "key": f"{method}{seed}",
            "source": "sample",
            "data_digest": DIGEST,
            "settings": {
                "method": {"name": method, "kind": method.partition("-")[0], **settings},
                "training": {"epochs": EPOCHS},
            },
        },
        "data": described(manifest(classes, source, modalities if two else ("audio", "visual"))),
        "classes": [f"class {i}" for i in range(classes)],
        "selection": selection,
        "probe": probe,
        "gap": {
            name: (max(v.values()) - min(v.values()) if two else None)
            for name, v in {**selection["val"]["test"]["modalities"], "probe": probe}.items()
        },
        "s": {
            name: [0.1 + 0.15 * (d + 1) / (i + 1) + draw.uniform(0, 0.05) for d in range(DEPTHS)]
            for i, name in enumerate(modalities)
        },
        "alpha": [0.1 * (d + 1) + draw.uniform(0, 0.03) for d in range(DEPTHS)] if two else None,
        "calibration": {
            "ece": draw.uniform(0, 0.1),
            "count": [0] * 10 + [2, 0, 1, 1, 2 * classes - 4],
            "confidence": [None] * 10 + [0.7, None, 0.8, 0.9, 0.97],
            "accuracy": [None] * 10 + [0.5, None, 1.0, 0.0, 0.9],
        },
        "parameters": {"total": 300, "encoders": dict.fromkeys(modalities, 100), "fusion": 100},
        "flops": {"inference": 10, "training_joint": 30},
    }


def operations(**meta: Any) -> dict[str, Any]:
    """operations.json of the method whose evaluations have this meta."""
    names = ("dataset", "method", "data_digest", "settings")
    return {**{name: meta[name] for name in names}, "flops": {"training": 40.5}}


def curves(seed: int, modulated: bool = False, modalities: tuple[str, ...] = ("audio", "visual")) -> dict[str, Any]:
    """curves.json of a seed; `modulated` adds AIM's scores from epoch START on."""
    draw = random.Random(seed)
    rows = []
    for epoch in range(EPOCHS):
        done = 1 - 0.8 ** (epoch + 1)
        metrics: dict[str, float | None] = {
            "train/accuracy": 0.98 * done,
            "train/loss": 2 * (1 - done),
            "val/accuracy": 0.85 * done - draw.uniform(0, 0.05),
        }
        for i, name in enumerate(modalities):
            metrics[f"val/{name}/accuracy"] = (0.7 - 0.4 * i) * done + draw.uniform(0, 0.05)
            for depth in range(1, DEPTHS + 1) if modulated and epoch >= START else ():
                s = (0.1 + 0.2 * depth * done) / (1 + i) + draw.uniform(0, 0.03)
                metrics |= {
                    f"depth{depth}/{name}/s": s,
                    f"depth{depth}/{name}/s_aux": 0.7 * s,
                    f"depth{depth}/alpha": 0.15 * depth * (1.2 - done),
                }
        rows.append({"epoch": epoch, "metrics": metrics})
    return {"meta": {}, "epochs": rows, "selected": {"val": EPOCHS - 1, "last": EPOCHS - 1, "test": EPOCHS - 1}}


def log(seed: int, classes: int = 3, modalities: tuple[str, ...] = ("audio", "visual")) -> dict[str, Any]:
    """The prototypes stage's file of a seed."""
    draw = random.Random(seed)

    def matrix(depth: int) -> list[list[float]]:
        return [
            [1.0 if i == j else 1 - 0.2 * depth + draw.uniform(-0.05, 0.05) for j in range(classes)]
            for i in range(classes)
        ]

    return {"meta": {}, "log": {"cosine": {name: [matrix(d) for d in range(DEPTHS)] for name in modalities}}}


def made(
    method: str = "joint",
    seeds: int = 3,
    classes: int = 3,
    source: str = "sample",
    modalities: tuple[str, ...] = ("audio", "visual"),
    **settings: Any,
) -> Result:
    """A result over seeds 0, 1, ..."""
    listed = list(range(seeds))
    return result(
        listed,
        [evaluation(seed, method, classes, modalities, source, **settings) for seed in listed],
        {"training": 40.5},
    )


def write(
    root: Path, method: str = "joint", seeds: int = 3, classes: int = 3, modulated: bool = False, **settings: Any
) -> Result:
    """The result, and the curves and logs beside it, as files below `root`."""
    found = made(method, seeds, classes, **settings)
    write_json(root / "results" / f"made_{method}.json", found.model_dump(mode="json"))
    for seed in range(seeds):
        write_json(root / "models" / "made" / method / str(seed) / "curves.json", curves(seed, modulated))
        if modulated:
            write_json(root / "models" / "made" / "prototypes" / str(seed) / "aim.json", log(seed, classes))
    return found


def of(
    method: str,
    accuracies: list[float],
    dataset: str = "made",
    seeds: list[int] | None = None,
    source: str = "local",
    **options: Any,
) -> Result:
    """A result with the given accuracies on 200 test clips at the epochs that validation chose, macro-F1 a tenth
    lower; other numbers as `made` has them.
    """
    found = made(method, len(accuracies), source=source, **options)
    val = found.selection.val.model_copy(
        update={"accuracy": estimate(accuracies), "macro_f1": estimate([a - 0.1 for a in accuracies])}
    )
    selection = found.selection.model_copy(update={"val": val})
    data = found.data.model_copy(update={"samples": {**found.data.samples, "test": 200}})
    return found.model_copy(
        update={"dataset": dataset, "seeds": seeds or found.seeds, "selection": selection, "data": data}
    )


def cost(
    method: str = "joint",
    dataset: str = "made",
    ratio: float = 1.0,
    beside: int = 0,
    source: str = "local",
    fit: Fit | None = None,
) -> Cost:
    """A cost file's content."""
    epoch = Epoch(
        seconds_begin=0.0,
        seconds_end=0.0,
        seconds_feed=0.05,
        seconds_evaluate=0.1,
        seconds_save=0.05,
        state_bytes=3_000_000,
        model_bytes=1_500_000,
    )
    return Cost(
        dataset=dataset,
        method=method,
        source=source,
        data_digest=DIGEST,
        batch_size=8,
        settings_digest="s" * 64,
        machine=Machine(cpu="a processor", threads=1, device="cpu", torch="2.13.0"),
        time=Time(
            clock="processor",
            seconds=0.01 * ratio,
            seconds_joint=0.01,
            ratios=[ratio] * 3,
            ratio=ratio,
            quartiles=(ratio - 0.1, ratio + 0.1),
            cycle=1,
        ),
        memory=Memory(how="tensors", peak=int(2**20 * ratio), peak_joint=2**20),
        weights=Weights(model=300, beside=beside, joint=300),
        operations=700 * ratio,
        operations_joint=700,
        epoch=epoch,
        epoch_joint=epoch,
        run=Run(
            epochs=10,
            warmup_epochs=2 if fit else 0,
            steps=100,
            fit=fit,
            starts={},
            seconds=None if fit is None and method.startswith("aim") else 12 * ratio + (fit.seconds if fit else 0),
            seconds_joint=12.0,
        ),
    )


def regression(method: str, maes: list[float], dataset: str = "made", **options: Any) -> Result:
    """The same as a regression with the given errors;
    correlation and binary accuracy follow from them, ties are undefined.
    """
    found = of(method, [0.5] * len(maes), dataset, **options)
    errors = Errors(
        mae=estimate(maes),
        rmse=estimate([1.2 * mae for mae in maes]),
        pearson=estimate([1 - mae for mae in maes]),
        binary_accuracy=estimate([1 - mae / 2 for mae in maes]),
        binary_f1=estimate([1 - mae / 2 for mae in maes]),
        nonzero_accuracy=None,
        nonzero_f1=None,
    )
    by_readout = {readout: dict.fromkeys(by, errors) for readout, by in found.selection.val.modalities.items()}
    val = found.selection.val.model_copy(update={"errors": errors, "modality_errors": by_readout})
    selection = found.selection.model_copy(update={"val": val})
    return found.model_copy(
        update={"task": "regression", "regression": {"loss": "l1", "threshold": 0.0}, "selection": selection}
    )
