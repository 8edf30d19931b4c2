"""Results side by side."""

import made_results
from equimodal.report.overview import by_rule, caption, comparison, percent
from equimodal.report.result import Spread


def test_percent():
    assert percent(Spread(mean=0.8132, std=0.0041, per_seed=[0.81, 0.82])) == "81.3 ± 0.4"
    assert percent(Spread(mean=0.8132, std=None, per_seed=[0.8132])) == "81.3"
    assert percent(None) == "–"


def test_readouts_are_named_and_missing_modalities_are_dashes():
    heads, rows = comparison([made_results.made("joint"), made_results.made("audio", modalities=("audio",))])
    assert heads == [
        "result",
        "accuracy",
        "macro-F1",
        "audio (split)",
        "visual (split)",
        "audio (probe)",
        "visual (probe)",
        "gap (split)",
    ]
    assert rows[0][0] == "made_joint"
    assert rows[0][1] == percent(made_results.made("joint").selection.val.accuracy)
    assert rows[1][4] == rows[1][6] == rows[1][7] == "–"
    assert "–" not in rows[0]


def test_rules_side_by_side():
    heads, rows = by_rule([made_results.made("joint", seeds=2)])
    assert heads[1:4] == [
        "best on validation (the result)",
        "last epoch",
        "best on test: the literature's rule, optimistic",
    ]
    assert len(rows[0][-1].split()) == 2


def test_caption_warns_of_generated_samples_only():
    assert "no result" in caption([made_results.made()])[-1]
    assert not any("no result" in line for line in caption([made_results.made(source="local")]))
    assert "3 seeds" in caption([made_results.made(source="local")])[0]
    assert "±" not in caption([made_results.made(seeds=1)])[0]
