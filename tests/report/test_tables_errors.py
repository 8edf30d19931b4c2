"""Regressions in the study's tables: error and correlation in a block of their own, tested on the error."""

import csv
import io

import pytest

import made_results
from equimodal.errors import UserError
from equimodal.report.paired import paired, paired_results
from equimodal.report.tables import comparison, modalities
from equimodal.report.tables.collection import Collection

JOINT, AIM = [0.90, 0.92, 0.91, 0.89], [0.80, 0.83, 0.81, 0.80]


@pytest.fixture
def both():
    """A regression beside a classification."""
    numbers = [made_results.regression("joint", JOINT, "mosi"), made_results.regression("aim", AIM, "mosi")]
    return Collection.of(
        [*numbers, made_results.of("joint", [0.6, 0.7, 0.7, 0.6]), made_results.of("aim", [0.6, 0.7, 0.7, 0.6])]
    )


def table(found, name):
    heads, rows = next(cells for title, cells in found.tables if name in title)
    return {row[0]: dict(zip(heads, row, strict=True)) for row in rows}


def test_lowest_error_and_highest_correlation_are_best(both):
    found = table(comparison.document(both), "Regressions")
    assert list(found["aim"]) == ["method", "mosi MAE", "mosi correlation", "mosi binary", "mosi binary, no ties"]
    assert found["aim"]["mosi MAE"] == "0.810 ± 0.014 †" and found["aim"]["mosi MAE"].mark == "best"
    assert found["aim"]["mosi correlation"].mark == "best" and found["joint"]["mosi correlation"].mark == "second"
    assert found["aim"]["mosi binary, no ties"] == "–"


def test_the_test_is_on_the_error_in_its_own_unit(both):
    found = comparison.document(both)
    cell = table(found, "Differences")["aim"]["mosi minus joint [95 %]"]
    assert cell.startswith("-0.095 [-0.1")
    difference, _ = paired_results(both.results["mosi", "aim"], both.results["mosi", "joint"])
    assert difference == paired(AIM, JOINT)
    assert "†" not in table(found, "Accuracy and macro-F1")["aim"]["mosi accuracy"]
    assert any("mosi: a regression (l1 loss)" in line for line in found.lines)


def test_a_regression_and_a_classification_are_not_compared():
    with pytest.raises(UserError, match="task"):
        paired_results(made_results.regression("aim", AIM), made_results.of("joint", JOINT))


def test_papers_accuracies_are_of_another_task(both):
    assert not any("printed" in head for head in comparison.document(both).tables[0][1][0])


def test_modalities_by_error(both):
    found = table(modalities.document(both), "mosi: mean absolute error")
    assert found["aim"]["audio (split)"] == "0.810 ± 0.014" and "visual (probe)" in found["aim"]


def test_csv_has_the_errors(both):
    rows = list(csv.DictReader(io.StringIO(comparison.document(both).formats()[".csv"])))
    assert float(rows[1]["mae"]) == both.results["mosi", rows[1]["method"]].selection.val.errors.mae.mean
    assert rows[-1]["mae"] == "" and rows[-1]["task"] == "classification"
