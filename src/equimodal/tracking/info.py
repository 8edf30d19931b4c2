"""What a run is: the identity that a stage's files and its live messages share."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from equimodal.store import canonical_json


@dataclass(frozen=True)
class RunInfo:
    """One (dataset, method, seed, stage), or a result (stage `result`, no seed) that is the parent of its seeds.

    `key` is the stage's content key: the same key is the same run. `settings` is the resolved slice, nested as in
    params.yaml; it becomes the run's parameters, so that two methods of one dataset have the same names side by side.
    """

    dataset: str
    method: str
    stage: str
    key: str
    source: str
    seed: int | None = None
    data_digest: str | None = None
    device: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Self:
        """From the `meta` of a stage's file; what it does not know of is left out."""
        return cls(**{entry.name: meta[entry.name] for entry in dataclasses.fields(cls) if entry.name in meta})

    @property
    def result(self) -> str:
        """Name of the result this run belongs to: `cremad_aim`."""
        return f"{self.dataset}_{self.method}"

    @property
    def name(self) -> str:
        """The run's name: `aim` of a result, `train 0 aim` of a seed's stage, so that a narrow column tells them apart.
        A run on generated samples, or on data that no file vouches for, says so.
        """
        seed = "" if self.seed is None else f" {self.seed}"
        name = self.method if self.stage == "result" else f"{self.stage}{seed} {self.method}"
        return name if self.source in ("local", "download") else f"{name} ({self.source})"

    @property
    def description(self) -> str:
        """Shown at the top of the run's page."""
        seed = "" if self.seed is None else f", seed {self.seed}"
        stage = "summary of the seeds" if self.stage == "result" else f"stage {self.stage}"
        what = f"{self.method} on {self.dataset}{seed}: {stage}."
        if self.source == "sample":
            return (
                f"{what} **Generated sample data**, not {self.dataset}: these numbers show that the chain works and are"
                " no result."
            )
        return f"{what} Data: `source: {self.source}`."

    def parent(self) -> "RunInfo":
        """The result's run. Its key is its name: settings may change, the result stays one run."""
        return dataclasses.replace(self, stage="result", key=self.result, seed=None, device=None)

    def tags(self) -> dict[str, str]:
        """Identity as MLflow tags."""
        values = {
            "dataset": self.dataset,
            "source": self.source,
            "method": self.method,
            "seed": self.seed,
            "stage": self.stage,
            "key": self.key,
            "result": self.result,
            "data_digest": self.data_digest,
            "device": self.device,
            "mlflow.runName": self.name,
            "mlflow.note.content": self.description,
            "mlflow.source.name": f"equimodal {'summary' if self.stage == 'result' else self.stage}",
            "mlflow.source.type": "LOCAL",
        }
        return {name: str(value) for name, value in values.items() if value is not None}

    def parameters(self) -> dict[str, str]:
        """Settings flattened to dotted keys; lists as JSON; 6,000 characters at most, as MLflow allows."""
        return {key: text[:6000] for key, text in sorted(_flatten(self.settings).items())}

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form; `RunInfo(**d)` reads it back."""
        return dataclasses.asdict(self)


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, below in value.items():
        if isinstance(below, Mapping) and below:
            flat |= _flatten(below, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = below if isinstance(below, str) else canonical_json(below)
    return flat


def sqlite_file(uri: str) -> Path | None:
    """The file of a sqlite:/// address, None for any other store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def without_password(uri: str) -> str:
    """The address without a user's name and password."""
    parts = urlsplit(uri)
    if parts.username is None and parts.password is None:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
