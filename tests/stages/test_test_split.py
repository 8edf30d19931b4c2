"""`training.test_every_epoch: false`: the same training, measured on the test split once."""

import csv
import io
from pathlib import Path

import pytest
import torch

import tiny_dataset
from equimodal.engines.layout import model_folder, result_path
from equimodal.report.overview import by_rule
from equimodal.report.result import Result
from equimodal.report.tables import comparison
from equimodal.report.tables.collection import Collection
from equimodal.stages import evaluate, operations, summary, train
from equimodal.store import read_json, read_tensors


@pytest.fixture
def result(tiny, monkeypatch):
    """Train, evaluate and summarise `joint` with the setting."""

    def of(every_epoch):
        params = tiny_dataset.params(training={"test_every_epoch": every_epoch})
        train.run(params, "tiny", "joint", 0)
        evaluate.run(params, "tiny", "joint", 0)
        operations.run(params, "tiny", "joint")
        summary.run(params, "tiny", "joint", [0])
        folder = model_folder("tiny", "joint", 0)
        files = {rule: read_tensors(folder / f"{rule}.safetensors") for rule in ("val", "last", "test")}
        return Result.read(result_path("tiny", "joint")), files, read_json(folder / "curves.json")

    return of


def test_the_other_rules_choose_the_same_weights_and_measure_them_alike(result):
    on, files_on, curves_on = result(True)
    off, files_off, curves_off = result(False)
    for rule in ("val", "last"):
        assert all(torch.equal(value, files_off[rule][0][name]) for name, value in files_on[rule][0].items())
        assert files_on[rule][1] == files_off[rule][1]
        assert getattr(on.selection, rule) == getattr(off.selection, rule)
    names = {name for row in curves_on["epochs"] for name in row["metrics"]}
    left = {name for row in curves_off["epochs"] for name in row["metrics"]}
    assert left == {name for name in names if not name.startswith("test/")} < names
    assert curves_off["selected"] == {rule: curves_on["selected"][rule] for rule in ("val", "last")}


def test_the_rule_is_nowhere_but_its_declared_file_is(result):
    off, files, _ = result(False)
    assert files["test"] == ({}, {"rule": "test", "epoch": None, "structure": {}})
    assert off.selection.test is None
    heads, rows = by_rule([off])
    assert dict(zip(heads, rows[0], strict=True))["best on test: the literature's rule, optimistic"] == "–"
    document = comparison.document(Collection.of([off]))
    heads, rows = dict(document.tables)["Accuracy by rule of selection"]
    assert dict(zip(heads, rows[0], strict=True))["best on test: the literature's rule, optimistic"] == "–"
    (record,) = csv.DictReader(io.StringIO(document.formats()[".csv"]))
    assert record["accuracy_rule_test"] == "" and record["accuracy_rule_last"] != ""
    assert [path.name for path in Path(".checkpoints").glob("*")] in ([], ["verified"])
