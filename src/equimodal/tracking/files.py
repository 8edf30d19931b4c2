"""Runs as the stages' files tell them: what `equimodal track` publishes."""

import dataclasses
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equimodal.errors import UserError
from equimodal.store import digest, file_sha256, read_json
from equimodal.tracking import clock
from equimodal.tracking.info import RunInfo
from equimodal.tracking.measures import is_number, measures

EPOCH_MS = 1000  # files hold no clock: an epoch counts one second, so that any two runs lie on one time axis
# Folders of stages that several methods start from; the files in them are named after their owner
SHARED = (
    "warmup",
    "prototypes",
)


@dataclass(frozen=True)
class Weights:
    """The file of the weights that validation chose, and the epoch it chose."""

    path: Path
    epoch: int


@dataclass(frozen=True)
class Record:
    """One run from files: metrics by step, files to attach, and when its stage began and ended (milliseconds).

    Attributes:
        weights: of a training, where they are there.
        measured: of an evaluation: the key of the training whose weights it measured, where that is known.
    """

    info: RunInfo
    points: list[tuple[int, dict[str, float], int]]
    artifacts: list[tuple[Path, str]]
    started: int = 0
    ended: int = 0
    weights: Weights | None = None
    measured: str | None = None

    @property
    def content(self) -> str:
        """Digest of all that would be published: an equal one has nothing to add."""
        files = [(path.name, folder, file_sha256(path)) for path, folder in self.artifacts]
        weights = self.weights and file_sha256(self.weights.path)
        return digest([self.info.as_dict(), self.points, files, weights, self.measured])


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


def training_of(root: Path, info: RunInfo) -> Record:
    """The training of this identity, from its files.

    Raises:
        UserError: they are missing, damaged, or another training's.
    """
    path = root / "models" / info.dataset / info.method / str(info.seed) / "curves.json"
    record = _trained(path)
    if record.info.key != info.key:
        raise UserError(f"{path} is another training's than the one that was tracked: `equimodal track` publishes it")
    return record


def _trained(path: Path) -> Record:
    content = _mapping(path)
    file, epoch = path.with_name("val.safetensors"), _selected(content)
    weights = Weights(file, epoch) if epoch is not None and file.is_file() else None
    return Record(_info(path, content.get("meta")), _epochs(content.get("epochs", [])), [(path, "")], weights=weights)


def _selected(curves: Mapping[str, Any]) -> int | None:
    """The epoch whose weights validation chose."""
    epoch = (curves.get("selected") or {}).get("val")
    return epoch if isinstance(epoch, int) else None


def _evaluated(path: Path) -> Record:
    content = _mapping(path)
    info, points = _info(path, content.get("meta")), [(0, measures(content), EPOCH_MS)]
    return Record(info, points, [(path, "")], measured=_measured(path, content, info))


def _measured(path: Path, content: Mapping[str, Any], info: RunInfo) -> str | None:
    """Key of the training beside an evaluation, if that is what it measured: it may have been run again since."""
    try:
        curves = _mapping(path.with_name("curves.json"))
        training = _info(path, curves.get("meta"))
    except UserError:
        return None
    chosen = content.get("selection", {}).get("val", {}).get("epoch")
    same = (info.settings, info.data_digest) == (training.settings, training.data_digest)
    return training.key if same and chosen is not None and chosen == _selected(curves) else None


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
        meta = header(path)
        return Record(_info(path, meta["run"]), _epochs(meta["history"]), [])
    except (UserError, KeyError, TypeError):
        raise UserError(f"{path} is not a readable warm-up: delete it and build it again") from None


def header(path: Path) -> dict[str, Any]:
    """What a file of weights says beside them, without torch.

    Raises:
        UserError: missing or damaged.
    """
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        found = json.loads(content["__metadata__"]["json"])
    except (OSError, ValueError, KeyError, TypeError, struct.error, MemoryError, OverflowError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a readable file of weights: delete it and build it again")
    return found


def _epochs(rows: list[dict[str, Any]]) -> list[tuple[int, dict[str, float], int]]:
    """[{"epoch": n, "metrics": {name: number or null}}] as points."""
    kept = [
        (row["epoch"], {name: float(value) for name, value in row["metrics"].items() if is_number(value)})
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
                if is_number(number):
                    found.setdefault(int(step), {})[f"{prefix}{name}"] = float(number)
        elif is_number(below):
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
    return _around(Record(info, [(0, measures(content), EPOCH_MS)], artifacts, ended=written), children)


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
