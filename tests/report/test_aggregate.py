"""Numbers over seeds, against NumPy."""

import numpy as np
import pytest

import made_results
from equimodal.report.aggregate import errors, result
from equimodal.store import digest


def test_mean_std_and_every_seed():
    found = made_results.made("joint", seeds=4)
    evaluations = [made_results.evaluation(seed) for seed in range(4)]
    for rule in ("val", "last", "test"):
        values = [e["selection"][rule]["test"]["accuracy"] for e in evaluations]
        chosen = getattr(found.selection, rule)
        assert chosen.accuracy.per_seed == values
        assert chosen.accuracy.mean == pytest.approx(np.mean(values))
        assert chosen.accuracy.std == pytest.approx(np.std(values, ddof=1))
        assert chosen.validation.accuracy.per_seed == [e["selection"][rule]["val"]["accuracy"] for e in evaluations]
        assert np.array_equal(
            chosen.confusion, np.sum([e["selection"][rule]["test"]["confusion"] for e in evaluations], axis=0)
        )
        recall = np.mean([e["selection"][rule]["test"]["recall"] for e in evaluations], axis=0)
        assert list(chosen.recall.values()) == pytest.approx(recall.tolist())
        assert chosen.epochs == [e["selection"][rule]["epoch"] for e in evaluations]
    assert [point.mean for point in found.imbalance.alpha] == pytest.approx(
        np.mean([e["alpha"] for e in evaluations], axis=0).tolist()
    )


def test_only_the_result_has_a_probe():
    found = made_results.made()
    assert set(found.selection.val.modalities) == {"split", "zero-feature", "probe"}
    assert set(found.selection.test.modalities) == {"split", "zero-feature"}


def test_rules_are_said_in_words():
    found = made_results.made()
    assert found.selection.val.label == "best on validation (the result)"
    assert "optimistic" in found.selection.test.label


def test_one_seed_has_no_spread():
    found = made_results.made(seeds=1)
    assert found.selection.val.accuracy.std is None
    assert found.selection.val.accuracy.interval95 is None


def test_one_modality_has_no_gap_and_no_alpha():
    found = made_results.made("audio", modalities=("audio",))
    assert found.imbalance.alpha is None
    assert set(found.imbalance.gap.values()) == {None}
    assert list(found.imbalance.s) == ["audio"]


@pytest.mark.parametrize(
    ("source", "note"),
    [("sample", "generated sample: shows that the chain works, is no result"), ("local", None), ("download", None)],
)
def test_generated_samples_say_so(source, note):
    assert made_results.made(source=source).note == note


def test_settings_digest_tells_settings_apart():
    plain, other = made_results.made("aim"), made_results.made("aim", tau=2.0)
    assert plain.settings_digest == digest(plain.settings) != other.settings_digest
    assert other.method.settings == {"tau": 2.0}


def test_rejected_counts_clips_not_tracks():
    assert made_results.made().data.rejected == 1  # one clip, rejected in both modalities


def test_three_modalities():
    names = ("audio", "motion", "visual")
    found = result(
        [0, 1],
        [made_results.evaluation(seed, modalities=names) for seed in (0, 1)],
        {"training": 40.5},
    )
    assert list(found.selection.val.modalities["split"]) == list(names)
    assert found.data.samples == {"train": 12, "val": 3, "test": 6}


def test_errors_of_a_regression_over_seeds():
    measured = {
        "mae": 0.5,
        "rmse": 0.75,
        "pearson": 0.25,
        "binary_accuracy": 0.8,
        "binary_f1": 0.7,
        "nonzero_accuracy": 0.9,
        "nonzero_f1": 0.6,
    }
    found = errors([{**measured, "modalities": {}}, {**measured, "mae": 0.7, "pearson": None}])
    assert (
        found.mae.per_seed == [0.5, 0.7] and found.mae.mean == pytest.approx(0.6) and found.mae.interval95 is not None
    )
    # a seed of constant predictions leaves no mean correlation
    assert found.pearson is None and found.nonzero_f1.mean == pytest.approx(0.6)
    assert errors([None, None]) is None
