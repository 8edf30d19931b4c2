"""Methods compared: marks, significance, missing results, papers' numbers, captions."""

import csv
import io

import pytest

import made_results
from equimodal.errors import UserError
from equimodal.report.formats.cells import Marked
from equimodal.report.paired import holm, paired
from equimodal.report.tables.collection import Collection
from equimodal.report.tables.comparison import document

CLIP = 1 / 200  # what one test clip adds to an accuracy
JOINT, UNI, AIM = [0.60, 0.62, 0.61, 0.59], [0.70, 0.71, 0.72, 0.69], [0.66, 0.69, 0.66, 0.66]


def study(*results):
    return document(Collection.of(results))


def column(found, head, table=0):
    """A column by method."""
    heads, rows = found.tables[table][1]
    return {row[0]: row[heads.index(head)] for row in rows}


@pytest.fixture
def three():
    return study(made_results.of("aim", AIM), made_results.of("joint", JOINT), made_results.of("joint-uni", UNI))


def test_rows_are_methods_with_the_baselines_first(three):
    assert [row[0] for row in three.tables[0][1][1]] == ["joint", "joint-uni", "aim"]
    assert column(three, "made accuracy")["joint"].startswith("60.5 ± 1.3")


def test_best_is_bold_and_second_underlined(three):
    marks = {method: getattr(cell, "mark", None) for method, cell in column(three, "made accuracy").items()}
    assert marks == {"joint": None, "joint-uni": "best", "aim": "second"}
    text = three.formats()[".md"]
    assert " **70.5 ± 1.3 †** |" in text and "**60.5 ± 1.3**" in text and "<ins>66.8 ± 1.5" in text


def test_numbers_that_read_alike_are_marked_alike():
    found = column(
        study(made_results.of("joint", [0.6]), made_results.of("a", [0.70004]), made_results.of("b", [0.70001])),
        "made accuracy",
    )
    assert [getattr(cell, "mark", None) for cell in found.values()] == ["second", "best", "best"]


def test_one_method_has_nothing_to_be_marked_against():
    assert not any(
        isinstance(cell, Marked) for cell in column(study(made_results.of("joint", JOINT)), "made accuracy").values()
    )


def test_significance_is_the_paired_test_corrected_by_holm(three):
    raw = [paired(values, JOINT, CLIP).p for values in (UNI, AIM)]
    expected = dict(zip(("joint-uni", "aim"), holm(raw), strict=True))
    shown = column(three, "p (Holm)", table=1)
    assert shown == {"joint": "–", **{method: f"{p:.2g}" for method, p in expected.items()}}
    assert expected["aim"] < 0.05
    cells = column(three, "made accuracy")
    assert cells["aim"].endswith("†‡") and cells["joint"].endswith("‡") and cells["joint-uni"].endswith(" †")
    assert column(three, "made minus joint [95 %]", table=1)["aim"].startswith("+6.")


def test_one_comparison_has_one_corrected_p_whichever_baseline_is_subtracted(three):
    joint_uni = column(three, "made minus joint [95 %]", table=1)["joint-uni"]
    joint = column(three, "made minus joint-uni [95 %]", table=1)["joint"]
    assert joint_uni.startswith("+10.0 [") and joint.startswith("-10.0 [")
    by_method = {record["method"]: record for record in three.records}
    assert by_method["joint-uni"]["p_joint_holm"] == by_method["joint"]["p_joint-uni_holm"]
    heads, rows = three.tables[1][1]
    assert rows[1][heads.index("p (Holm)")] == rows[0][-1] != "–"


@pytest.mark.parametrize(
    ("methods", "hidden"), [(["aim"], 5), (["joint", "aim", "other-1"], 4), (["joint-uni", "aim", "other-2"], 3)]
)
def test_fewer_rows_leave_every_corrected_p_as_it_is(methods, hidden):
    others = [made_results.of(f"other-{i}", [a + 0.01 * i for a in JOINT[::-1]]) for i in range(1, 5)]
    every = Collection.of(
        [made_results.of("joint", JOINT), made_results.of("joint-uni", UNI), made_results.of("aim", AIM), *others]
    )
    part, whole = document(every.only(methods)), document(every)
    assert [row[0] for row in part.tables[0][1][1]] == [method for method in every.methods if method in methods]
    for head in ("made minus joint [95 %]", "made minus joint-uni [95 %]", "p (Holm)"):
        assert column(part, head, table=1)["aim"] == column(whole, head, table=1)["aim"] != "–"
    by_method = {record["method"]: record for record in whole.records}
    assert part.records == [by_method[record["method"]] for record in part.records]
    assert any(line.endswith(f"corrects for: made 6 ({hidden} of them not shown).") for line in part.lines)


def test_a_row_without_any_file_is_refused():
    every = Collection.of([made_results.of("joint", JOINT), made_results.of("aim", AIM)])
    with pytest.raises(UserError, match=r"no file of method ami; there are: joint, aim"):
        every.only(["ami"])


def test_equal_differences_on_few_clips_are_no_sign():
    found = study(made_results.of("joint", [0.60, 0.70]), made_results.of("aim", [0.61, 0.71]))
    assert column(found, "made accuracy")["aim"] == "66.0 ± 7.1"
    assert float(column(found, "p (Holm)", table=1)["aim"]) > 0.05


def test_one_seed_has_no_p():
    found = study(made_results.of("joint", [0.6]), made_results.of("aim", [0.7]))
    assert column(found, "p (Holm)", table=1)["aim"] == "–"
    assert column(found, "made minus joint [95 %]", table=1)["aim"] == "+10.0"
    assert column(found, "made accuracy")["aim"] == "70.0"


def test_other_seeds_are_compared_over_the_common_ones_and_named():
    found = study(made_results.of("joint", JOINT), made_results.of("aim", AIM, seeds=[2, 3, 4, 5]))
    assert column(found, "made minus joint [95 %]", table=1)["aim"].endswith("(seeds 2, 3)")
    assert "made, aim: seeds 2, 3, 4, 5." in found.lines
    apart = study(made_results.of("joint", JOINT), made_results.of("aim", AIM, seeds=[6, 7, 8, 9]))
    assert len(apart.tables) == 2, "nothing to compare: accuracies and rules only"


def test_results_on_other_data_are_shown_and_not_compared():
    other = made_results.of("aim", AIM)
    other = other.model_copy(update={"data": other.data.model_copy(update={"digest": "e" * 64})})
    found = study(made_results.of("joint", JOINT), other)
    assert len(found.tables) == 2
    assert any("made, aim: other data (eeeeeeee): not compared" in line for line in found.lines)


def test_other_training_settings_are_named():
    short = made_results.of("aim", AIM)
    short = short.model_copy(update={"settings": {**short.settings, "training": {"epochs": 3}}})
    assert any(
        line == "made, aim: other settings (training.epochs)."
        for line in study(made_results.of("joint", JOINT), short).lines
    )


def test_a_missing_result_is_a_dash(three):
    found = study(
        made_results.of("joint", JOINT),
        made_results.of("joint", JOINT, dataset="more"),
        made_results.of("aim", AIM, dataset="more"),
    )
    assert column(found, "made accuracy")["aim"] == "–"
    assert column(found, "more accuracy")["aim"] != "–"


def test_a_paper_s_numbers_stand_in_their_own_column_and_are_not_marked():
    found = study(made_results.of("joint", JOINT, dataset="cremad"), made_results.of("aim", AIM, dataset="cremad"))
    shown = column(found, "cremad accuracy, printed")
    printed = "67.5 [aim] 65.1 [aug] 66.6 [inforeg] 62.6 [mcr] 65.5 [bench]"
    assert shown["aim"] == "81.3 [aim]" and shown["joint"] == printed
    assert column(found, "cremad macro-F1, printed")["aim"] == "82.0 [aim]"
    assert not any(isinstance(cell, Marked) for cell in shown.values())
    assert isinstance(column(found, "cremad accuracy")["aim"], Marked), "ours is still the best of ours"
    assert any(line.startswith("[aug] AUG, arXiv 2502.20120. Its protocol: ") for line in found.lines)


def test_nothing_is_printed_beside_a_generated_sample():
    found = study(
        made_results.of("aim", AIM, dataset="cremad", source="sample"),
        made_results.of("joint", JOINT, dataset="cremad", source="sample"),
    )
    assert not any("printed" in head for head in found.tables[0][1][0])
    assert found.note is not None and found.note.startswith(
        "cremad: generated sample: shows that the chain works, is no result"
    )
    assert f"<p class=note>{found.note}</p>" in found.formats()[".html"]
    assert "Papers' numbers are left out beside generated samples: they are of other data." in found.lines
    assert not any(key.startswith("printed") for record in found.records for key in record)


def test_the_caption_repeats_what_results_warn_of(three):
    assert any(line.startswith("Warning: made: validation has 6 samples (under 30)") for line in three.lines)
    part = made_results.of("joint", JOINT)
    data = part.data.model_copy(update={"dropped_classes": {"class 3": "no clip"}})
    assert "made: 3 of 4 classes." in study(part.model_copy(update={"data": data})).lines


def test_the_caption_names_protocol_source_rule_and_seeds(three):
    line = next(line for line in three.lines if line.startswith("made: "))
    for part in (
        "source local",
        "protocol custom",
        "split by the table's own column",
        "12 / 3 / 200 samples",
        "seeds 0, 1, 2, 3",
        "validation",
        "dddddddd",
    ):
        assert part in line
    assert any("says nothing about other splits" in said for said in three.lines)
    assert "Methods tested against joint, which Holm's rule corrects for: made 2." in three.lines


def test_every_rule_of_selection_is_shown(three):
    heads, rows = three.tables[-1][1]
    assert "best on test: the literature's rule, optimistic" in heads
    assert rows[0][:2] == ["made", "joint"] and rows[0][-1] == "60.0  62.0  61.0  59.0"


def test_csv_reads_back_to_the_numbers(three):
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(three.formats()[".csv"]))}
    aim = made_results.of("aim", AIM)
    assert float(rows["aim"]["accuracy"]) == aim.selection.val.accuracy.mean
    assert float(rows["aim"]["accuracy_std"]) == aim.selection.val.accuracy.std
    assert float(rows["aim"]["p_joint"]) == paired(AIM, JOINT, CLIP).p
    assert rows["joint"]["p_joint"] == ""


def test_no_results_and_the_same_twice_are_refused():
    with pytest.raises(UserError, match="no result files"):
        Collection.of([])
    with pytest.raises(UserError, match="two files of joint on made"):
        Collection.of([made_results.made(), made_results.made()])
