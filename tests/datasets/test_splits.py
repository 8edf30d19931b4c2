"""Splits: disjoint groups, deterministic, independent of the order of files, and loud when they cannot be made."""

import random

import pytest

from equimodal.datasets.base import Listing, Sample
from equimodal.datasets.ks.settings import KineticsSoundsSplit
from equimodal.datasets.splits import assign, counts
from equimodal.datasets.ucf101.settings import Ucf101Split
from equimodal.errors import UserError
from equimodal.settings.datasets import SplitSettings


def listing(groups: int = 10, each: int = 6, classes: str = "xyz", **more: object) -> Listing:
    samples = [
        Sample(f"{g:02d}-{n}", classes[n % len(classes)], {}, group=f"g{g:02d}")
        for g in range(groups)
        for n in range(each)
    ]
    return Listing(tuple(classes), samples, **more)  # type: ignore[arg-type]


def by_split(split: dict[str, str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, part in split.items():
        found.setdefault(part, set()).add(name)
    return found


def test_actor_folds_are_disjoint_and_cover_everyone_once() -> None:
    tested = []
    for fold in range(5):
        parts = by_split(assign(listing(), SplitSettings(rule="actor", folds=5, fold=fold), "d"))
        groups = {part: {name[:2] for name in names} for part, names in parts.items()}
        assert (
            not groups["train"] & groups["test"]
            and not groups["train"] & groups["val"]
            and not groups["val"] & groups["test"]
        )
        tested += sorted(groups["test"])
    assert sorted(tested) == [f"{g:02d}" for g in range(10)]


@pytest.mark.parametrize("rule", ["actor", "stratified"])
@pytest.mark.parametrize("validation_by", ["group", "stratified"])
def test_order_of_samples_does_not_matter_but_the_seed_does(rule: str, validation_by: str) -> None:
    settings = SplitSettings(rule=rule, folds=5, validation_by=validation_by)  # type: ignore[arg-type]
    shuffled = listing()
    random.Random(3).shuffle(shuffled.samples)
    assert assign(listing(), settings, "d") == assign(shuffled, settings, "d")
    assert assign(listing(), settings, "d") != assign(listing(), settings.model_copy(update={"seed": 1}), "d")


def test_stratified_takes_its_share_of_every_class() -> None:
    parts = by_split(
        assign(listing(), SplitSettings(rule="stratified", folds=5, validation=0.25, validation_by="stratified"), "d")
    )
    labels = {sample.id: sample.label for sample in listing().samples}
    for part, number in (("test", 4), ("val", 4), ("train", 12)):
        assert sorted(labels[name] for name in parts[part]) == sorted("xyz" * number)


def test_stratified_carves_validation_by_class_unless_told_otherwise() -> None:
    ungrouped = Listing(("x", "y"), [Sample(f"{n:02d}", "xy"[n % 2], {}) for n in range(40)])
    parts = by_split(assign(ungrouped, SplitSettings(rule="stratified", folds=5, validation=0.25), "d"))
    assert {part: len(names) for part, names in parts.items()} == {"train": 24, "val": 8, "test": 8}
    told = {"rule": "stratified", "validation_by": "group"}
    assert SplitSettings.model_validate(told).validation_by == "group"
    assert [SplitSettings(rule=rule).validation_by for rule in ("actor", "column", "ogm", "lists")] == ["group"] * 4
    assert Ucf101Split(rule="stratified").validation_by == "stratified"
    assert KineticsSoundsSplit().validation_by == "stratified"


def test_validation_by_group_holds_whole_groups_of_about_the_share() -> None:
    parts = by_split(assign(listing(20, 6), SplitSettings(rule="actor", folds=5, validation=0.25), "d"))
    assert len(parts["val"]) == 24  # 4 of the 16 training groups
    assert not {name[:2] for name in parts["val"]} & {name[:2] for name in parts["train"]}


def test_column_keeps_the_datas_own_split_and_carves_only_what_is_missing() -> None:
    own = ["train", "train", "val", "test"]
    given = Listing(("x",), [Sample(str(n), "x", {}, split=own[n]) for n in range(4)])
    assert assign(given, SplitSettings(rule="column"), "d") == {str(n): own[n] for n in range(4)}
    no_val = Listing(("x",), [Sample(str(n), "x", {}, split="train" if n < 8 else "test") for n in range(10)])
    carved = by_split(assign(no_val, SplitSettings(rule="column", validation=0.25, validation_by="stratified"), "d"))
    assert {part: len(names) for part, names in carved.items()} == {"train": 6, "val": 2, "test": 2}
    assert carved["test"] == {"8", "9"}


@pytest.mark.parametrize(
    ("given", "settings", "words"),
    [
        (listing(3), {"rule": "actor", "folds": 5}, "only 3 groups"),
        (listing(), {"rule": "ogm"}, "CREMA-D's published list"),
        (listing(), {"rule": "column"}, "no split column"),
        (listing(), {"rule": "actor", "validation": 0}, "validation = 0"),
        (Listing(("x",), [Sample("a", "x", {})]), {"rule": "actor"}, "sample 'a' has none"),
        (
            Listing(("x",), [Sample("a", "x", {}, "g", "train"), Sample("b", "x", {}, "g", "test")]),
            {"rule": "column"},
            "group 'g' is in both train and test",
        ),
        (listing(2), {"rule": "actor", "folds": 2}, "at least two groups"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(given: Listing, settings: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        assign(given, SplitSettings(**settings), "d")


def test_ogm_follows_the_lists_and_refuses_other_files() -> None:
    ids = {sample.id for sample in listing().samples}
    lists = {"train": frozenset(ids - {"00-0", "01-0"}), "test": frozenset({"00-0", "01-0"})}
    settings = SplitSettings(rule="ogm", validation_by="stratified")
    parts = by_split(assign(listing(lists=lists), settings, "d"))
    assert parts["test"] == lists["test"] and parts["train"] | parts["val"] == lists["train"]
    with pytest.raises(UserError, match=r"1 clips are in the lists but not among the files \(elsewhere\)"):
        assign(listing(lists={**lists, "train": lists["train"] | {"elsewhere"}}), settings, "d")
    with pytest.raises(UserError, match=r"1 clips are among the files but not in the lists \(09-5\)"):
        assign(listing(lists={**lists, "train": lists["train"] - {"09-5"}}), settings, "d")


def test_lists_decide_for_the_clips_that_are_there() -> None:
    settings = SplitSettings(rule="lists", validation=0.25, validation_by="stratified")
    ids = {sample.id for sample in listing().samples}
    test = frozenset(name for name in ids if name.startswith("09"))
    given = listing(lists={"train": frozenset(ids - test) | {"gone"}, "test": test | {"gone too"}})
    parts = by_split(assign(given, settings, "d"))
    assert parts["test"] == test and parts["train"] | parts["val"] == ids - test
    labels = {sample.id: sample.label for sample in given.samples}
    assert sorted(labels[name] for name in parts["val"]) == sorted("xyz" * round(0.25 * 18))
    assert assign(given, settings, "d") != assign(given, settings.model_copy(update={"seed": 1}), "d")
    held = frozenset(name for name in ids if name.startswith("08"))
    own = by_split(
        assign(listing(lists={"train": frozenset(ids - test - held), "val": held, "test": test}), settings, "d")
    )
    assert own["val"] == held and own["test"] == test


def test_lists_that_contradict_the_clips_or_each_other_are_refused() -> None:
    settings = SplitSettings(rule="lists", validation_by="stratified")
    ids = frozenset(sample.id for sample in listing().samples)
    with pytest.raises(UserError, match=r"rule = lists, but this dataset has no published lists"):
        assign(listing(), settings, "d")
    with pytest.raises(UserError, match=r"1 clips are in both train and test \(00-0\)"):
        assign(listing(lists={"train": ids, "test": frozenset({"00-0"})}), settings, "d")
    with pytest.raises(UserError, match=r"1 clips are on no list \(00-0\)"):
        assign(listing(lists={"train": ids - {"00-0"}, "test": frozenset()}), settings, "d")


def test_a_class_absent_from_a_split_is_named_with_the_split() -> None:
    full = ["train", "val", "test"]
    assert counts(["a", "b"], [0, 0, 0, 1, 1, 1], full * 2, "d") == {part: {"a": 1, "b": 1} for part in full}
    for given in (False, True):
        with pytest.raises(UserError, match=r"class b in split 'test'"):
            counts(["a", "b"], [0, 0, 0, 1, 1], [*full, "train", "val"], "d", given_validation=given)
    with pytest.raises(UserError, match=r"class b in split 'val'"):
        counts(["a", "b"], [0, 0, 0, 1, 1], [*full, "train", "test"], "d")


def test_a_given_validation_part_may_lack_a_class() -> None:
    table = counts(["a", "b"], [0, 0, 0, 1, 1], ["train", "val", "test", "train", "test"], "d", given_validation=True)
    assert table["val"] == {"a": 1, "b": 0}
