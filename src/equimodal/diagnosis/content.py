"""What a diagnosis says, as types; report.py shows it."""

from pydantic import Field

from equimodal.report.result import Part


class Estimate(Part):
    """A number with its bootstrap interval over samples."""

    value: float
    low: float | None = Field(
        description="null where the number is not a mean over samples, or not defined in resamples"
    )
    high: float | None


class Entry(Part):
    """One number of a measure."""

    quantity: str = Field(description="what of the measure it is: drop, share, score, ...")
    of: str = Field(description="a modality, 'a x b' for two together, or 'all'")
    at: float | None = Field(None, description="depth from 1, noise level, or missing rate; null without such an axis")
    layer: str | None = Field(None, description="the submodule that a depth stands for")
    estimate: Estimate


class Measured(Part):
    """What a measure found."""

    name: str
    title: str
    source: str
    numbers: str = Field(description="what each quantity is")
    passes: int = Field(ge=0, description="forward passes of the loader that it needs beside the plain one, alone")
    axis: str | None = Field(description="what `at` counts")
    entries: list[Entry]

    def find(self, quantity: str, of: str) -> list[Entry]:
        """Entries of a quantity, in order of `at`."""
        return [entry for entry in self.entries if (entry.quantity, entry.of) == (quantity, of)]


class Finding(Part):
    """One claim of the verdict."""

    kind: str
    modality: str | None
    text: str = Field(description="the claim in words, with the numbers that it rests on")


class Advice(Part):
    """A method of this project that addresses a finding."""

    method: str
    why: str
    cost: str


class Content(Part):
    """A diagnosis."""

    model: str = Field(description="the model's class")
    modalities: list[str]
    task: str
    score: str = Field(description="what is meant by a score; a mean over samples, higher is better")
    samples: int
    full: Estimate = Field(description="score of the model as it is")
    confidence: float
    replicates: int = Field(description="bootstrap resamples")
    seed: int
    passes: int = Field(description="forward passes of the loader, all measures together")
    measures: list[Measured]
    verdict: str = Field(description="in one sentence")
    findings: list[Finding]
    advice: list[Advice]
    notes: list[str] = Field(description="what was not measured and why, and what may have been misread")

    def measure(self, name: str) -> Measured:
        """A measure by name; a KeyError if it was not taken."""
        for measured in self.measures:
            if measured.name == name:
                return measured
        raise KeyError(name)
