"""Runs as the stages' files tell them: what `equimodal track` publishes."""

import dataclasses
import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equimodal.errors import UserError
from equimodal.store import digest, file_sha256, read_json
from equimodal.tracking import clock
from equimodal.tracking.info import RunInfo

EPOCH_MS = 1000  # files hold no clock: an epoch counts one second, so that any two runs lie on one time axis
# Folders of stages that several methods start from; the files in them are named after their owner
SHARED = (
    "warmup",
    "prototypes",
)
NO_MEASURES = ("meta", "settings", "method", "split", "seeds", "data", "regression")


@dataclass(frozen=True)
class Record:
    """One run from files: metrics by step, files to attach, and when its stage began and ended (milliseconds)."""

    info: RunInfo
    points: list[tuple[int, dict[str, float], int]]
    artifacts: list[tuple[Path, str]]
    started: int = 0
    ended: int = 0

    @property
    def content(self) -> str:
        """Digest of all that would be published: an equal one has nothing to add."""
        files = [(path.name, folder, file_sha256(path)) for path, folder in self.artifacts]
        return digest([self.info.as_dict(), self.points, files])


def results(root: Path) -> list[tuple[str, str]]:
    """(dataset, method) of everything that has files."""
    shared = {(path.parts[-4], path.stem) for stage in SHARED for path in root.glob(f"models/*/{stage}/*/*")}
    trained = {
        (path.parts[-4], path.parts[-3]) for path in root.glob("models/*/*/*/*.json") if path.parts[-3] not in SHARED
    }
    summed = {
        (dataset, method) for path in root.glob("results/*_*.json") for dataset, _, method in [path.stem.partition("_")]
    }
    return sorted(shared | trained | summed)


def records(root: Path, dataset: str, method: str, problems: list[str]) -> Iterator[Record]:
    """The runs of one result: its own run first, then its seeds and stages.

    A file that is not what its stage writes adds a line to `problems`; the others are read all the same.
    """
    models = root / "models" / dataset
    children: list[Record] = []
    for read, found in (
        (_trained, sorted((models / method).glob("*/curves.json"), key=_seed)),
        (_evaluated, sorted((models / method).glob("*/evaluation.json"), key=_seed)),
        (_fitted, sorted((models / "prototypes").glob(f"*/{method}.json"), key=_seed)),
        (_warmed, sorted((models / "warmup").glob(f"*/{method}.safetensors"), key=_seed)),
    ):
        for path in found:
            try:
                children.append(_timed(root, path, read(path)))
            except UserError as error:
                problems.append(str(error))
    path = root / "results" / f"{dataset}_{method}.json"
    try:
        if path.is_file():
            yield _result(path, dataset, method, children)
        elif children:  # a warm-up that only variants use has no result of its own
            yield _around(Record(_without_seed(children[0].info.parent()), [], []), children)
    except UserError as error:
        problems.append(str(error))
    yield from children


def _timed(root: Path, path: Path, record: Record) -> Record:
    """The record with its stage's own times. Where they are not known (a restored file, another machine) it ended when
    its file was written, and a logged epoch or step counts one second.
    """
    written = path.stat().st_mtime_ns // 1_000_000
    guess = written - max(1, len(record.points)) * EPOCH_MS, written
    started, ended = clock.span(root, record.info.key) or guess
    return dataclasses.replace(record, started=started, ended=ended)


def _around(record: Record, children: list[Record]) -> Record:
    """A result's run lasts from its first stage's start to its own end or its last stage's, whichever is later."""
    return dataclasses.replace(
        record,
        started=min([child.started for child in children] or [record.ended - EPOCH_MS]),
        ended=max([record.ended, *(child.ended for child in children)]),
    )


def _seed(path: Path) -> tuple[int, str]:
    """Order of seeds: 2 before 10."""
    return len(path.parent.name), path.parent.name


def _trained(path: Path) -> Record:
    content = _mapping(path)
    return Record(_info(path, content.get("meta")), _epochs(content.get("epochs", [])), [(path, "")])


def _evaluated(path: Path) -> Record:
    content = _mapping(path)
    return Record(_info(path, content.get("meta")), [(0, leaves(content), EPOCH_MS)], [(path, "")])


def _fitted(path: Path) -> Record:
    """Prototypes and decoupling: {"meta": ..., "log": columns over steps}."""
    content = _mapping(path)
    points = [
        (step, metrics, (step + 1) * EPOCH_MS) for step, metrics in sorted(_columns(content.get("log", {})).items())
    ]
    return Record(_info(path, content.get("meta")), points, [(path, "")])


def _warmed(path: Path) -> Record:
    """A warm-up's epochs lie in the header of its weights, which is JSON: torch is not needed to read it."""
    try:
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        meta = json.loads(header["__metadata__"]["json"])
        return Record(_info(path, meta["run"]), _epochs(meta["history"]), [])
    except (OSError, ValueError, KeyError, struct.error):
        raise UserError(f"{path} is not a readable warm-up: delete it and build it again") from None


def _epochs(rows: list[dict[str, Any]]) -> list[tuple[int, dict[str, float], int]]:
    """[{"epoch": n, "metrics": {name: number or null}}] as points."""
    kept = [
        (row["epoch"], {name: float(value) for name, value in row["metrics"].items() if _is_number(value)})
        for row in rows
    ]
    return [(epoch, metrics, (epoch + 1) * EPOCH_MS) for epoch, metrics in kept]


def _columns(value: Mapping[str, Any], prefix: str = "") -> dict[int, dict[str, float]]:
    """Tables of columns, one of them `step`, anywhere in nested mappings: step -> {name: number};
    other numbers are at step 0.
    """
    found: dict[int, dict[str, float]] = {}
    steps = value.get("step")
    for name, below in value.items():
        if isinstance(below, Mapping):
            for step, metrics in _columns(below, f"{prefix}{name}/").items():
                found.setdefault(step, {}).update(metrics)
        elif isinstance(below, list) and isinstance(steps, list) and name != "step":
            for step, number in zip(steps, below, strict=False):
                if _is_number(number):
                    found.setdefault(int(step), {})[f"{prefix}{name}"] = float(number)
        elif _is_number(below):
            found.setdefault(0, {})[f"{prefix}{name}"] = float(below)
    return found


def _result(path: Path, dataset: str, method: str, children: list[Record]) -> Record:
    content = _mapping(path)
    trained = next((child.info for child in children if child.info.stage == "train"), None)
    if trained is None:  # weights and curves may have been deleted: the result still counts
        settings, data = content.get("settings", {}), content.get("data", {})
        trained = RunInfo(
            dataset,
            method,
            "train",
            "",
            str(content.get("source", "unknown")),
            None,
            data.get("digest"),
            None,
            settings,
        )
    figures = sorted((path.parent / "figures" / path.stem).glob("*"))
    artifacts = [(path, "")] + [(figure, "figures") for figure in figures if figure.suffix in (".svg", ".png")]
    info = _without_seed(trained.parent())
    written = max(file.stat().st_mtime_ns // 1_000_000 for file, _ in artifacts)
    return _around(Record(info, [(0, leaves(content), EPOCH_MS)], artifacts, ended=written), children)


def leaves(content: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of an evaluation or result file, named by their path: selection.val/accuracy/mean,
    imbalance/alpha/depth4/mean.

    The rule stays in the name, because the accuracy of what validation chose is not `val/accuracy`. Lists over seeds
    and matrices are left out.
    """
    measured = {key: below for key, below in content.items() if key not in NO_MEASURES and key != "selection"}
    rules = content.get("selection", {})
    return _leaves(measured, "") | {
        name: value for rule, below in rules.items() for name, value in _leaves(below, f"selection.{rule}/").items()
    }


def _leaves(value: Mapping[str, Any], prefix: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, below in value.items():
        if isinstance(below, Mapping):
            found |= _leaves(
                {name: _by_depth(item) for name, item in below.items()} if key == "s" else below, f"{prefix}{key}/"
            )
        elif isinstance(below, list) and key == "alpha":
            found |= _leaves(_by_depth(below), f"{prefix}{key}/")
        elif isinstance(below, list) and key == "interval95":
            found |= _leaves({"low": below[0], "high": below[1]}, f"{prefix}{key}/")
        elif _is_number(below):
            found[f"{prefix}{key}"] = float(below)
    return found


def _by_depth(values: list[Any]) -> dict[str, Any]:
    """Depths count from 1, as in the paper."""
    return {f"depth{depth}": value for depth, value in enumerate(values, 1)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _mapping(path: Path) -> Mapping[str, Any]:
    content = read_json(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path} is not a mapping: delete it and build it again")
    return content


def _info(path: Path, meta: Any) -> RunInfo:
    try:
        return RunInfo.from_meta(meta)
    except (TypeError, AttributeError):
        raise UserError(f"{path} does not say which run it belongs to (`meta`): delete it and build it again") from None


def _without_seed(info: RunInfo) -> RunInfo:
    """A parent's settings: those that its seeds share."""
    return dataclasses.replace(info, settings={name: value for name, value in info.settings.items() if name != "seed"})
