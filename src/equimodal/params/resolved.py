"""What `Params` finds out about a dataset or a method: where encoders start, and a method as one dataset uses it."""

from dataclasses import dataclass

from equimodal.errors import UserError
from equimodal.methods.registry import Entry
from equimodal.settings.method import MethodSettings, WarmupSettings


@dataclass(frozen=True)
class Weights:
    """Where a dataset's encoders start: `source` is a path or "download", `modalities` those that take part."""

    source: str
    modalities: tuple[str, ...]

    @property
    def file(self) -> str | None:
        """The path, None for a download."""
        return None if self.source == "download" else self.source


@dataclass(frozen=True)
class ResolvedMethod:
    """A method as one dataset uses it. `kind` is the registered method that the variant `name` is based on."""

    name: str
    kind: str
    entry: Entry
    settings: MethodSettings

    @property
    def warm(self) -> WarmupSettings:
        """The settings of a method that starts from a warm-up; any other method's are a UserError."""
        if not isinstance(self.settings, WarmupSettings):
            raise UserError(f"{self.name} has no warm-up and no prototypes")
        return self.settings
