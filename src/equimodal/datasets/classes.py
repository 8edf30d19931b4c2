"""Which classes of a dataset are used: those that the settings name, less those that an incomplete copy lacks."""

import math
from collections.abc import Collection, Mapping, Sequence

from equimodal.datasets.base import some_of
from equimodal.errors import UserError
from equimodal.settings.base import hint
from equimodal.settings.datasets import ListedSettings

NOT_CHOSEN = "not among the setting classes"
NO_CLIP = "no clip in the copy (missing_classes: drop)"
# Classes that are named one and all in a message.
NAMED = 8


def wanted(names: Sequence[str], settings: ListedSettings, dataset: str) -> tuple[str, ...]:
    """The classes `names` of a dataset that its settings ask for, in the dataset's order.

    Raises:
        UserError: the settings name a class that is none.
    """
    if settings.classes is None:
        return tuple(names)
    for name in settings.classes:
        if name not in names:
            raise UserError(
                f"datasets.{dataset}.classes names {name}, which is none of the {len(names)} classes of {dataset}"
                + (hint(name, list(names)) or f" (as {some_of(list(names), 3)})")
            )
    return tuple(name for name in names if name in settings.classes)


def choose(
    names: Sequence[str],
    clips: Mapping[str, int],
    settings: ListedSettings,
    dataset: str,
    place: str,
    listed: Mapping[str, int] | None = None,
) -> tuple[tuple[str, ...], dict[str, str]]:
    """(Classes that are used, in the dataset's order; the others with the reason.)

    Args:
        names: all classes of the dataset, in its order.
        clips: class -> clips that are there.
        place: the folder where they are, for messages.
        listed: class -> clips that the lists name, where absent ones count against `max_rejected`.

    Raises:
        UserError: an unknown class in the settings, a class without any clip (unless it shall be dropped), fewer than
            two classes left; names the settings that help, all of them at once.
    """
    chosen = wanted(names, settings, dataset)
    left_out = {name: NOT_CHOSEN for name in names if name not in chosen}
    absent = [name for name in chosen if not clips.get(name)]
    kept = tuple(name for name in chosen if name not in absent)
    if absent and (settings.missing_classes == "refuse" or len(kept) < 2):
        raise UserError(
            f"{dataset}: {len(absent)} of {len(chosen)} classes have no clip in {place} ({some_of(absent, 3)}): "
            + _advice(kept, clips, settings, dataset, listed)
        )
    return kept, left_out | dict.fromkeys(absent, NO_CLIP)


def _advice(
    kept: Collection[str],
    clips: Mapping[str, int],
    settings: ListedSettings,
    dataset: str,
    listed: Mapping[str, int] | None,
) -> str:
    """What to do about absent classes, and about absent clips of the others, which would be the next complaint."""
    where = f"datasets.{dataset}"
    if len(kept) < 2:
        other = "check" if settings.classes is None else f"name others in {where}.classes, or check"
        return f"{len(kept)} left, at least two are needed: complete the copy, or {other} {where}.raw"
    left = f"the {len(kept)} that are there" + (f" ({', '.join(kept)})" if len(kept) <= NAMED else "")
    advice = f"complete the copy, or set {where}.missing_classes: drop to use {left}, or {where}.classes to your choice"
    total = sum((listed or {}).get(name, 0) for name in kept)
    found = sum(clips[name] for name in kept)
    if total and 1 - found / total > settings.max_rejected:
        # rounded up: the number that is named must do
        share = math.ceil(100 * (1 - found / total)) / 100
        advice += f"; of their {total} listed clips {found} are there: {where}.max_rejected: {share:g} allows that too"
    return advice
