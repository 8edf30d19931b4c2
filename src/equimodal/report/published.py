"""Numbers that papers print, for the columns beside ours: published.yaml, read and checked."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from pydantic import Field

from equimodal.report.result import Part

FILE = Path(__file__).with_name("published.yaml")


class Numbers(Part):
    """One method on one dataset, in percent as printed."""

    accuracy: float = Field(ge=0, le=100)
    macro_f1: float | None = Field(None, ge=0, le=100)
    modalities: dict[str, float] = Field({}, description="accuracy of each modality inside the model")


class Source(Part):
    """A paper, and what is known of how it measured."""

    cite: str
    protocol: str
    datasets: dict[str, dict[str, Numbers]] = Field(description="dataset -> method -> numbers")


@dataclass(frozen=True)
class Printed:
    """The numbers of one source for one method on one dataset."""

    source: str
    numbers: Numbers


@cache
def sources() -> dict[str, Source]:
    """Every source by its short name, in the file's order."""
    return {
        name: Source.model_validate(content)
        for name, content in yaml.safe_load(FILE.read_text(encoding="utf-8")).items()
    }


def printed(dataset: str, method: str) -> list[Printed]:
    """What papers print for a method on a dataset of that name."""
    found = ((name, source.datasets.get(dataset, {}).get(method)) for name, source in sources().items())
    return [Printed(name, numbers) for name, numbers in found if numbers is not None]
