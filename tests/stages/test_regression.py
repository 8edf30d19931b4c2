"""task: regression through the stages: labels as numbers, training and its resuming, errors in evaluations, results,
tables and figures.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_dataset
from equimodal.engines import declarations
from equimodal.engines.layout import model_folder
from equimodal.errors import UserError
from equimodal.params import Params, parse_params
from equimodal.report.result import Result
from equimodal.stages import (
    evaluate,
    features,
    figures,
    index,
    manifest,
    operations,
    overview,
    prototypes,
    raw,
    running,
    show,
    summary,
    train,
    warmup,
)
from equimodal.store import digest, read_json, write_json
from small_datasets import TABLE, params_of

METHODS = ("joint", "joint-uni", "audio", "visual", "aim", "aim-no-pam")
NUMBERS: dict[str, Any] = {
    "kind": "table",
    "root": "arrays",
    "table": "rows.csv",
    "columns": {"path": None, "split": None},
    "split": {"rule": "stratified", "folds": 4, "validation": 0.3, "validation_by": "stratified"},
    "modalities": {"text": {"kind": "vector", "file": "text.npy", "width": 4}},
    "task": "regression",
    "regression": {"low": -2, "high": 2, "points": 5},
}


def build(labels: list[float | str], folder: Path, **changes: Any) -> tuple[Params, dict[str, Any]]:
    """The stages up to the manifest of a table with these labels."""
    (folder / "arrays").mkdir(exist_ok=True)
    np.save(folder / "arrays" / "text.npy", np.random.default_rng(0).normal(size=(len(labels), 4)).astype(np.float32))
    (folder / "arrays" / "rows.csv").write_text("label\n" + "".join(f"{label}\n" for label in labels))
    params = params_of(NUMBERS, **changes)
    raw.run(params, "d")
    index.run(params, "d")
    features.run(params, "d", "text")
    manifest.run(params, "d")
    return params, read_json(Path("data/d/manifest.json"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


LABELS: list[float | str] = [round(-2 + 4 * i / 39, 2) for i in range(40)]


def test_labels_are_numbers_in_the_manifest(folder: Path) -> None:
    _, found = build(LABELS, folder)
    assert found["task"] == "regression" and found["classes"] == ["-2", "-1", "0", "1", "2"]
    assert sorted(found["labels"]) == LABELS
    assert found["regression"] == {"loss": "l1", "low": -2, "high": 2, "points": 5, "bandwidth": 1, "threshold": 0}
    counts = found["split"]["counts"]
    assert all(sum(counts[split].values()) == found["splits"].count(split) for split in ("train", "val", "test"))
    tested = [label for label, split in zip(found["labels"], found["splits"], strict=True) if split == "test"]
    assert 10 <= len(tested) <= 15 and min(tested) < -1 and max(tested) > 1  # stratified by nearest grid value


def test_mistakes_in_labels_are_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match=r"labels out of range: 2\.5 "):
        build([*LABELS, 2.5], folder)
    with pytest.raises(UserError, match="label 'many' of sample"):
        build([*LABELS, "many"], folder)
    with pytest.raises(UserError, match="every training label is 1: there is nothing to learn"):
        build([1.0] * 20 + ["1"] * 20, folder)


def test_a_regression_needs_its_range_and_its_methods() -> None:
    with pytest.raises(UserError, match=r"needs the section regression with low and high"):
        params_of(TABLE, task="regression")
    study = {"datasets": ["tiny"], "from-scratch": ["ogm"], "from-warmup": [], "seeds": [0]}
    given = tiny_dataset.raw_params(
        datasets={"tiny": {"task": "regression", "regression": tiny_dataset.REGRESSION}}, methods={"ogm": {}}
    )
    with pytest.raises(
        UserError,
        match=r"method 'ogm' is for classification; datasets\.tiny\.task is regression: leave the method out there",
    ):
        parse_params({**given, "study": study})


def test_only_a_regressions_settings_set_its_stages() -> None:
    plain = params_of(TABLE, task="classification", regression={"low": 0, "high": 1, "threshold": 0.5})
    assert all(
        declarations.settings(plain, stage, "d") == declarations.settings(params_of(TABLE), stage, "d")
        for stage in ("raw", "index", "manifest")
    )
    numbers, squared = params_of(NUMBERS), params_of(NUMBERS, regression={"loss": "mse"})
    assert declarations.settings(numbers, "raw", "d") == declarations.settings(squared, "raw", "d")
    assert declarations.settings(numbers, "index", "d") == declarations.settings(squared, "index", "d")
    assert declarations.settings(numbers, "manifest", "d") != declarations.settings(squared, "manifest", "d")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Params]:
    """Joint, its kin and AIM on the tiny regression, trained and evaluated."""
    root = tmp_path_factory.mktemp("regression")
    params = tiny_dataset.write_regression(
        root, training={"epochs": 3}, methods={"aim": {"dap": {"steps": 60, "required_accuracy": 1.0}}}
    )
    counted = operations.training_flops
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        # Of one method: what the others' steps cost is the matter of test_operations.
        patch.setattr(
            operations, "training_flops", lambda setup: counted(setup) if setup.resolved.name == "joint" else 1
        )
        warmup.run(params, "tiny", "aim", 0)
        prototypes.run(params, "tiny", "aim", 0)
        for method in METHODS:
            train.run(params, "tiny", method, 0)
            evaluate.run(params, "tiny", method, 0)
            operations.run(params, "tiny", method)
            summary.run(params, "tiny", method, [0])
        yield params


def test_every_method_trains_and_is_selected_by_its_error(trained: Params) -> None:
    for method in METHODS:
        curves = read_json(model_folder("tiny", method, 0) / "curves.json")
        rows = [row["metrics"] for row in curves["epochs"]]
        assert len(rows) == 3 and all(
            math.isfinite(row["train/loss"]) and "train/mae" in row and None not in row.values() for row in rows
        )
        own = rows[1:] if method.startswith("aim") else rows
        assert rows[curves["selected"]["val"]]["val/mae"] == min(row["val/mae"] for row in own)


def test_evaluation_has_errors_and_classes(trained: Params) -> None:
    found = read_json(model_folder("tiny", "aim", 0) / "evaluation.json")
    test, logged = found["selection"]["val"]["test"], read_json(model_folder("tiny", "aim", 0) / "curves.json")
    metrics = logged["epochs"][found["selection"]["val"]["epoch"]]["metrics"]
    assert test["errors"]["mae"] == metrics["test/mae"] and test["accuracy"] == metrics["test/accuracy"]
    assert test["errors"]["modalities"]["split"]["visual"]["mae"] == metrics["test/visual/mae"]
    assert set(test["errors"]["modalities"]) == {"split", "zero-feature"} and set(found["probe_errors"]) == {
        "audio",
        "visual",
    }
    assert np.shape(test["confusion"]) == (7, 7) and found["classes"] == ["-3", "-2", "-1", "0", "1", "2", "3"]
    assert all(0 < value < 1 for line in found["s"].values() for value in line) and len(found["alpha"]) == 4


def test_results_tables_and_figures_show_errors(trained: Params, capsys: pytest.CaptureFixture[str]) -> None:
    result = Result.read(Path("results/tiny_aim.json"))
    best = result.selection.val
    assert result.task == "regression" and result.regression is not None and result.regression["loss"] == "l1"
    assert best.errors is not None and best.modality_errors is not None and best.validation.errors is not None
    assert set(best.modality_errors) == {"split", "zero-feature", "probe"} and best.errors.mae.interval95 is None
    capsys.readouterr()
    show.run(trained, [Path(f"results/tiny_{method}.json") for method in ("joint", "aim")])
    text = capsys.readouterr().out
    assert "MAE" in text and "correlation" in text and f"{best.errors.mae.mean:.3f}" in text
    overview.run(trained, "tiny")
    assert "Test MAE by selection rule" in Path("results/tables/tiny.md").read_text()
    figures.run(trained, "tiny", "aim")
    assert Path("results/figures/tiny_aim/curves.svg").is_file()


def test_a_killed_run_goes_on_to_the_same_bytes(trained: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [model_folder("tiny", "aim", 0) / name for name in ("val.safetensors", "last.safetensors", "curves.json")]
    before = [file.read_bytes() for file in files]
    with monkeypatch.context() as patch:
        patch.setattr(running.Run, "_report", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train.run(trained, "tiny", "aim", 0)
    assert Path(".checkpoints/train-tiny-aim-0/state.safetensors").is_file()
    train.run(trained, "tiny", "aim", 0)
    assert [file.read_bytes() for file in files] == before


def test_aim_on_padded_sequences_and_a_grid_that_data_do_not_fill(folder: Path) -> None:
    """Thirteen grid values, most of them far from any label:
    prototypes begin between their neighbours, and nothing is NaN.
    """
    grid = {"datasets": {"tiny": {"regression": {**tiny_dataset.REGRESSION, "points": 13}}}}
    params = tiny_dataset.write_regression(folder, tiny_dataset.SEQUENCES, training={"epochs": 2}, **grid)
    manifest_path = Path("data/tiny/manifest.json")
    content = {key: value for key, value in read_json(manifest_path).items() if key != "digest"}
    content |= {
        "regression": params.dataset("tiny").regression.slice(),
        "classes": params.dataset("tiny").regression.names,
    }
    write_json(manifest_path, {**content, "digest": digest(content)})
    warmup.run(params, "tiny", "aim", 0)
    prototypes.run(params, "tiny", "aim", 0)
    train.run(params, "tiny", "aim", 0)
    metrics = read_json(model_folder("tiny", "aim", 0) / "curves.json")["epochs"][-1]["metrics"]
    assert None not in metrics.values() and 0 < metrics["depth1/text/s"] < 1
    assert len(read_json(Path("models/tiny/prototypes/0/aim.json"))["log"]["cosine"]["face"][0]) == 13
