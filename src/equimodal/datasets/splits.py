"""Which samples train, validate and test: deterministic from the seed, whatever order the files come in."""

from collections.abc import Mapping, Sequence

import numpy as np

from equimodal.datasets.base import Listing, Sample, some_of
from equimodal.errors import UserError
from equimodal.settings.datasets import SplitSettings

SPLITS = ("train", "val", "test")


def assign(listing: Listing, settings: SplitSettings, dataset: str) -> dict[str, str]:
    """Sample id -> "train", "val" or "test".

    Args:
        listing: the samples; for rule `column` with their own split, for the rules `ogm` and `lists` with the published
            lists.
        settings: rule, folds, fold, validation, validation_by, seed.
        dataset: name, for messages.

    Raises:
        UserError: the rule does not fit the data, too few groups, nothing to validate on.
    """
    samples = sorted(listing.samples, key=lambda sample: sample.id)
    where = f"datasets.{dataset}.split"
    rule = {"actor": _actor, "ogm": _ogm, "column": _column, "stratified": _stratified, "lists": _lists}[settings.rule]
    split = rule(samples, listing, settings, where)
    if "val" not in split.values():
        _carve_validation([sample for sample in samples if split[sample.id] == "train"], split, settings, where)
    return split


def counts(
    classes: Sequence[str],
    labels: Sequence[int],
    splits: Sequence[str],
    dataset: str,
    given_validation: bool = False,
    droppable: bool = False,
) -> dict[str, dict[str, int]]:
    """Samples by split and class.

    Args:
        classes: names in label order.
        labels: one label per sample.
        splits: one split per sample.
        dataset: name, for messages.
        given_validation: the validation part is the data's own (a split column), not carved by us. A class absent from
            it is then no error: GRID's words have a letter that its 600 validation words lack, and selection on the
            other classes is still sound.
        droppable: the dataset has the setting `missing_classes`, which the message then names.

    Raises:
        UserError: a class is absent from a split; names both.
    """
    table = {split: dict.fromkeys(classes, 0) for split in SPLITS}
    for label, split in zip(labels, splits, strict=True):
        table[split][classes[label]] += 1
    for split, row in table.items():
        absent = [name for name, number in row.items() if number == 0]
        if not absent:
            continue
        if split == "val" and given_validation and len(absent) < len(classes):
            continue
        raise UserError(
            f"{dataset}: no sample of class {some_of(absent)} in split '{split}': every class must be there;"
            f" change datasets.{dataset}.split (fold, seed, validation) or the data"
            + (f", or set datasets.{dataset}.missing_classes: drop" if droppable else "")
        )
    return table


def _actor(samples: list[Sample], listing: Listing, settings: SplitSettings, where: str) -> dict[str, str]:
    """Whole groups are tested: shuffled, dealt to folds in turn."""
    groups = sorted({_group(sample, where) for sample in samples})
    if len(groups) < settings.folds:
        raise UserError(
            f"{where}.folds = {settings.folds}, but there are only {len(groups)} groups (actors): lower folds"
        )
    order = _generator(settings.seed, "folds").permutation(len(groups))
    tested = {groups[place] for place in order[settings.fold :: settings.folds]}
    return {sample.id: "test" if sample.group in tested else "train" for sample in samples}


def _ogm(samples: list[Sample], listing: Listing, settings: SplitSettings, where: str) -> dict[str, str]:
    """The published lists, to the letter: they and the files must name the same clips."""
    if listing.lists is None:
        raise UserError(
            f"{where}.rule = ogm is CREMA-D's published list; for other data use actor, column or stratified"
        )
    ids = {sample.id for sample in samples}
    listed = listing.lists["train"] | listing.lists["test"]
    for names, text in (
        (listed - ids, "in the lists but not among the files"),
        (ids - listed, "among the files but not in the lists"),
    ):
        if names:
            raise UserError(
                f"{where}.rule = ogm: {len(names)} clips are {text} ({some_of(sorted(names))}):"
                " the published split needs the full CREMA-D; complete the copy (equimodal verify), or use rule: actor"
            )
    return {sample.id: "test" if sample.id in listing.lists["test"] else "train" for sample in samples}


def _lists(samples: list[Sample], listing: Listing, settings: SplitSettings, where: str) -> dict[str, str]:
    """The published lists decide for the clips that are there;
    ones that are listed and absent are the dataset's to report.
    """
    if listing.lists is None:
        raise UserError(
            f"{where}.rule = lists, but this dataset has no published lists: use rule actor, column or stratified"
        )
    split: dict[str, str] = {}
    for part, names in listing.lists.items():
        twice = sorted(names & split.keys())
        if twice:
            raise UserError(
                f"{where}.rule = lists: {len(twice)} clips are in both {split[twice[0]]} and {part}"
                f" ({some_of(twice)}): mend the lists"
            )
        split.update(dict.fromkeys(names, part))
    unlisted = [sample.id for sample in samples if sample.id not in split]
    if unlisted:
        raise UserError(
            f"{where}.rule = lists: {len(unlisted)} clips are on no list ({some_of(unlisted)}): add them to"
            " one, or take them out of the folder"
        )
    return {sample.id: split[sample.id] for sample in samples}


def _column(samples: list[Sample], listing: Listing, settings: SplitSettings, where: str) -> dict[str, str]:
    """What the data's own column says; a group on two sides would leak."""
    if any(sample.split is None for sample in samples):
        raise UserError(
            f"{where}.rule = column, but this dataset has no split column: name it in columns.split, or use"
            " rule actor or stratified"
        )
    sides: dict[str, str] = {}
    for sample in samples:
        if sample.group is not None and sides.setdefault(sample.group, sample.split or "") != sample.split:
            raise UserError(
                f"{where}: group '{sample.group}' is in both {sides[sample.group]} and {sample.split}:"
                " mend the split column, leave out columns.group, or use rule: actor"
            )
    return {sample.id: sample.split or "" for sample in samples}


def _stratified(samples: list[Sample], listing: Listing, settings: SplitSettings, where: str) -> dict[str, str]:
    """1/folds of each class is tested."""
    split = {}
    for name, members in _by_class(samples).items():
        order = _generator(settings.seed, "stratified", name).permutation(len(members))
        tested = set(order[settings.fold :: settings.folds].tolist())
        split.update({member.id: "test" if place in tested else "train" for place, member in enumerate(members)})
    return split


def _carve_validation(training: list[Sample], split: dict[str, str], settings: SplitSettings, where: str) -> None:
    """Turn a share of the training samples into validation, by whole groups or by class; changes `split` in place."""
    if settings.validation == 0:
        raise UserError(
            f"{where}.validation = 0 leaves nothing to select on: give a share above 0, or a split column with val rows"
        )
    if settings.validation_by == "stratified":
        for name, members in _by_class(training).items():
            order = _generator(settings.seed, "validation", str(settings.fold), name).permutation(len(members))
            held = max(1, round(settings.validation * len(members)))
            split.update({members[place].id: "val" for place in order[:held]})
        return
    sizes: dict[str, int] = {}
    for sample in training:
        group = _group(sample, where, "validation_by: stratified")
        sizes[group] = sizes.get(group, 0) + 1
    if len(sizes) < 2:
        raise UserError(
            f"{where}.validation_by = group needs at least two groups in the training part, there is"
            f" {len(sizes)}: use stratified"
        )
    groups = sorted(sizes)
    held_groups: set[str] = set()
    held = 0
    for place in _generator(settings.seed, "validation", str(settings.fold)).permutation(len(groups)):
        size = sizes[groups[place]]
        # Stop where adding the next group would leave the share farther off than leaving it out.
        if held_groups and held + size / 2 > settings.validation * len(training):
            break
        held_groups.add(groups[place])
        held += size
    split.update({sample.id: "val" for sample in training if sample.group in held_groups})


def _by_class(samples: Sequence[Sample]) -> Mapping[str, list[Sample]]:
    """Class -> its samples, in the order of their ids."""
    members: dict[str, list[Sample]] = {}
    for sample in samples:
        members.setdefault(sample.label, []).append(sample)
    return members


def _group(sample: Sample, where: str, instead: str = "rule: stratified") -> str:
    if sample.group is None:
        raise UserError(
            f"{where} divides whole groups, but sample '{sample.id}' has none: name columns.group, or use {instead}"
        )
    return sample.group


def _generator(seed: int, *names: str) -> np.random.Generator:
    """Own stream for each purpose, so that changing one draw leaves the others."""
    return np.random.Generator(np.random.PCG64([seed, *"/".join(names).encode()]))
