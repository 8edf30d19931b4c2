"""What every method is set by; each adds its own in its folder in `methods`."""

from typing import ClassVar

from equimodal.settings.base import Settings

BOTH_TASKS = ("classification", "regression")


class MethodSettings(Settings):
    """Every method's settings may name a preset; a variant's `base` is resolved before these are read.

    `least_modalities` and `tasks` say what data the method is for; other data is refused where params.yaml is read.
    """

    least_modalities: ClassVar[int] = 1
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    preset: str | None = None
