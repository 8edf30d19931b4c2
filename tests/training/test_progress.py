"""What a run has done so far, and what its selection rules chose."""

import math

from equimodal.training.progress import Progress


def test_a_rule_chooses_the_highest_score_and_of_equal_ones_the_earlier() -> None:
    progress, chosen = Progress(), []
    for score in ([0.5, -2.0], [0.5, -1.0], [0.5, -1.0], [0.4, -0.1]):
        progress.record({})
        chosen.append(progress.choose("val", score))
    assert chosen == [True, True, False, False]
    assert progress.selected == {"val": 1} and progress.best == {"val": [0.5, -1.0]}


def test_history_is_json_with_null_for_what_is_undefined() -> None:
    progress = Progress()
    progress.record({"a": 1.5, "b": math.nan})
    assert progress.history == [{"epoch": 0, "metrics": {"a": 1.5, "b": None}}] and progress.epoch == 1
