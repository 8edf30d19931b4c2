"""What results warn of: in the file, and in the words of captions."""

import re

import made_results
from equimodal.report.aggregate import described, result
from equimodal.report.information import disagreement, sizes_line, warning_lines
from equimodal.report.overview import caption
from equimodal.report.result import Result


def large(method: str = "joint", val: float = 0.8, test: float = 0.8, chosen: float | None = None) -> Result:
    """A result of 3 classes with 40 validation and 50 test samples each, and these accuracies; `chosen`: on validation
    at the epoch chosen there.
    """
    evaluations = [made_results.evaluation(seed, method, source="local") for seed in range(2)]
    for each in evaluations:
        for rule in each["selection"].values():
            for split, count, share in (("val", 40, val), ("test", 50, test)):
                hits = round(share * count)
                rule[split]["confusion"] = [
                    [hits if i == j else (count - hits) * ((i + 1) % 3 == j) for j in range(3)] for i in range(3)
                ]
                rule[split]["accuracy"] = hits / count
        each["selection"]["val"]["val"]["accuracy"] = val if chosen is None else chosen
    return result([0, 1], evaluations, {"training": 40.5})


def test_a_result_of_enough_clips_that_agree_warns_of_nothing() -> None:
    found = large()
    assert found.warnings == [] and found.agreement is not None and found.agreement.p > 0.9
    assert warning_lines([found]) == [] and not any("Warning" in line for line in caption([found]))


def test_small_splits_are_counted_in_what_was_measured() -> None:
    """made_results: 2 clips a class in both splits' confusion, whatever the manifest says."""
    found = made_results.made(source="local")
    assert [text.partition(":")[0] for text in found.warnings] == [
        "validation has 6 samples (under 30)",
        "test has 6 samples (under 30)",
    ]
    both = [found, made_results.made("aim", source="local")]
    assert [line.partition(":")[0] for line in warning_lines(both)] == ["made", "made"]  # once for both methods
    mixed = [large(), found.model_copy(update={"method": both[1].method})]
    assert all(line.startswith("made aim: ") for line in warning_lines(mixed))
    assert sum("Warning: made: " in line for line in caption(both)) == 2


def test_a_regressions_grid_values_are_no_classes() -> None:
    evaluations = [made_results.evaluation(0)]
    for rule in evaluations[0]["selection"].values():
        rule["val"]["confusion"] = [[40, 0, 0], [0, 1, 0], [0, 0, 0]]
        rule["test"]["confusion"] = [[40, 0, 0], [0, 1, 0], [0, 0, 0]]
    as_classes = result([0], evaluations, {"training": 1.0})
    assert [re.sub(r":.*", "", text) for text in as_classes.warnings] == [
        "validation has fewer than 2 samples of 2 of 3 classes (class 1 1, class 2 0)",
        "test has fewer than 2 samples of 2 of 3 classes (class 1 1, class 2 0)",
    ]
    evaluations[0]["data"]["task"] = "regression"
    assert result([0], evaluations, {"training": 1.0}).warnings == []


def test_validation_that_is_not_like_test_is_called_so() -> None:
    found = large(val=0.975, test=0.74)
    assert found.agreement is not None and found.agreement.p < 1e-4
    assert (
        found.agreement.difference == found.selection.last.validation.accuracy.mean - found.selection.last.accuracy.mean
    )
    (text,) = found.warnings
    assert text == disagreement(found)
    assert text.startswith("validation 97.5 against 74.0 test percent (last epoch's weights) is more than chance")
    other = large("aim", val=0.95, test=0.74)
    (line,) = warning_lines([found, other, large("aug")])
    assert "joint 97.5 against 74.0, aim 95.0 against 74.0; the validation clips are not like" in line
    assert f"Warning: {line}" in caption([found, other, large("aug")])


def test_they_are_compared_at_the_epoch_that_neither_chose() -> None:
    """The one that validation chose looks better on it than it is."""
    found, flattered = large(), large(chosen=1.0)
    assert flattered.selection.val.validation.accuracy.mean == 1.0
    assert flattered.agreement == found.agreement and flattered.warnings == []


def test_earlier_results_have_no_such_fields() -> None:
    content = large().model_dump(mode="json")
    assert "dropped_classes" not in content["data"]
    del content["warnings"], content["agreement"]
    old = Result.model_validate(content)
    assert (old.warnings, old.agreement, warning_lines([old])) == ([], None, [])


def test_captions_say_how_many_samples_and_classes_the_numbers_are_of() -> None:
    found = large()
    assert sizes_line([found]) == "Samples, train / validation / test: made 12 / 3 / 6."
    dropped = {"class 3": "no clip in the copy (missing_classes: drop)"}
    manifest = {**made_results.manifest(), "dropped_classes": dropped}
    evaluations = [{**made_results.evaluation(0), "data": described(manifest)}]
    part = result([0], evaluations, {"training": 1.0})
    assert part.data.dropped_classes == dropped and part.model_dump(mode="json")["data"]["dropped_classes"] == dropped
    assert sizes_line([part, found]) == (
        "Samples, train / validation / test: made 12 / 3 / 6 of 3 of 4 classes; made 12 / 3 / 6."
    )
    assert sizes_line([found]) in caption([found])
