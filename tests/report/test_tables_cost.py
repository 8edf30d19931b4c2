"""Cost: relative to joint, with and without measurements."""

import csv
import io

import made_results
from equimodal.report.cost_file import Fit
from equimodal.report.tables.collection import Collection
from equimodal.report.tables.cost import document


def result(method, flops, total=300, **options):
    found = made_results.of(method, [0.6, 0.7], **options)
    return found.model_copy(
        update={
            "flops": found.flops.model_copy(update={"training": flops}),
            "parameters": found.parameters.model_copy(update={"total": total}),
            "settings": {**found.settings, "training": {"batch_size": 8}},
        }
    )


def rows(*files):
    costs = [file for file in files if hasattr(file, "machine")]
    heads, found = document(Collection.of([file for file in files if file not in costs], costs)).tables[0][1]
    return {row[0]: dict(zip(heads, row, strict=True)) for row in found}


def test_relative_to_the_joint_result():
    found = rows(result("joint", 2e9), result("aim", 6.2e9, total=1300))
    assert found["aim"]["FLOPs x joint"] == "3.10" and found["aim"]["GFLOP per step"] == "49.6"
    assert found["aim"]["weights added"] == "+1,000" and found["joint"]["weights added"] == "0"
    assert found["aim"]["time x joint"] == found["aim"]["MiB"] == found["aim"]["weights beside"] == "–"


def test_without_a_joint_result_the_same_model_trained_jointly_counts():
    assert rows(result("aim", 60))["aim"]["FLOPs x joint"] == "2.00"
    alone = result("audio", 30, modalities=("audio",))
    assert rows(alone)["audio"]["FLOPs x joint"] == "–", "a model of one modality says nothing of the joint one"


def test_measured_time_and_memory():
    found = rows(result("joint", 2e9), made_results.cost("joint"), made_results.cost("aim", ratio=2.5, beside=1234))
    assert found["aim"]["time x joint"] == "2.50 [2.40, 2.60]"
    assert found["aim"]["memory x joint"] == "2.50" and found["aim"]["MiB"] == "2.5"
    assert found["aim"]["weights beside"] == "1,234"
    assert found["aim"]["FLOPs x joint"] == "–", "no result of aim"


def test_the_caption_names_the_machine_or_says_that_nothing_was_measured():
    without = document(Collection.of([result("joint", 1)])).lines
    assert any("were not measured" in line for line in without)
    measured = document(Collection.of([result("joint", 1)], [made_results.cost()])).lines
    assert any(
        "Measured on: a processor, 1 thread, torch 2.13.0 (made); processor seconds" in line for line in measured
    )


def test_the_whole_run():
    fit = Fit(seconds=6.0, measured="stage")
    costs = [made_results.cost("joint"), made_results.cost("aim", ratio=2.5, fit=fit), made_results.cost("aim-no-pam")]
    found = rows(result("joint", 2e9), *costs)
    assert found["joint"]["run x joint"] == "1.00" and found["joint"]["prototypes stage / joint run"] == "–"
    assert found["aim"]["run x joint"] == "3.00" and found["aim"]["prototypes stage / joint run"] == "0.50"
    assert found["aim-no-pam"]["run x joint"] == "–"
    assert found["aim"]["state MB (x model's)"] == "3 (2.0)" and found["aim"]["ops a step"] == "1,750"
    lines = document(Collection.of([], costs)).lines
    assert "Prototypes stage: of the study's first seed, what that stage took on this machine (1)." in lines
    assert "– without a trained warm-up to measure the fit on: made aim-no-pam." in lines


def test_csv_reads_back():
    content = document(
        Collection.of([result("joint", 2e9), result("aim", 6.2e9)], [made_results.cost("aim", ratio=2.5)])
    ).formats()[".csv"]
    read = {row["method"]: row for row in csv.DictReader(io.StringIO(content))}
    assert float(read["aim"]["time_ratio"]) == 2.5 and float(read["aim"]["flops_ratio"]) == 6.2e9 / 2e9
    assert read["joint"]["time_ratio"] == ""
