"""A table of your own becomes an entry of `datasets` in params.yaml; what was found and how long it takes is told."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from equimodal.datasets.table.proposal import propose
from equimodal.datasets.table.settings import TableSettings
from equimodal.datasets.table.sheet import Sheet, spread
from equimodal.engines.estimate import in_words
from equimodal.evaluation.operations import made_inputs
from equimodal.features.arrays import locate
from equimodal.features.contract import Place, Segment
from equimodal.features.extract import kind_of
from equimodal.features.media import MediaError
from equimodal.models.framework import build_model
from equimodal.params import Params
from equimodal.params.adding import with_dataset
from equimodal.params.reading import parse_params
from equimodal.params.text import read_yaml
from equimodal.settings.features import ArraySettings, Feature, PictureSettings
from equimodal.store import atomic
from equimodal.training.device import pick_device, stopwatch

STEPS = 3  # of training, timed
EVALUATION = 0.3  # of training steps' time, that evaluation and feeding add to them


def run(
    params: Params,
    table: Path,
    name: str,
    root: Path | None,
    columns: Mapping[str, str],
    arrays: Mapping[str, str],
    file: Path = Path("params.yaml"),
) -> None:
    """Write the entry; print what was found, what to decide and how long it takes.

    Args:
        table: the CSV.
        name: of the dataset.
        root: folder that its paths are relative to; None: the CSV's.
        columns: role -> column, where names do not tell.
        arrays: modality -> FILE or FILE#KEY with one row per sample, relative to root.
        file: params.yaml.

    Raises:
        UserError: what cannot be told of the table (`datasets.table.proposal`), a name that is taken or is none;
            nothing is written then.
    """
    root = root or table.parent
    sheet = Sheet.read(table)
    device = pick_device(params.runtime)
    proposal = propose(sheet, root, columns, arrays, gpu=device.type == "cuda")
    inside = table.relative_to(root) if table.is_relative_to(root) else table.absolute()
    entry = {"kind": "table", "root": root.as_posix(), "table": inside.as_posix(), **proposal.entry}
    comment = f"by `equimodal add-dataset` from {len(sheet.rows)} rows; docs/datasets/table.md"
    text = with_dataset(file.read_text(encoding="utf-8"), name, entry, comment)
    changed = parse_params(read_yaml(text, str(file)))
    seconds = decoding(changed, name, sheet), training(changed, name, sheet, device)
    with atomic(file.resolve()) as new:
        new.write_text(text, encoding="utf-8")
    print("\n".join(told(changed, name, sheet, proposal.notes, *seconds)))


def told(params: Params, name: str, sheet: Sheet, notes: list[str], decode: float, train: float) -> list[str]:
    """What was found, what to decide, how long it takes, what comes next: a line each."""
    settings = table_settings(params, name)
    columns = {role: column for role, column in settings.columns if column is not None}
    if isinstance(settings.columns.path, dict):
        columns["path"] = " and ".join(dict.fromkeys(settings.columns.path.values()))
    modalities = ", ".join(f"{modality} ({feature.kind})" for modality, feature in settings.modalities.items())
    workers = params.runtime.workers
    return [
        f"{name}: {len(sheet.rows)} samples, {', '.join(f'{role} = {column}' for role, column in columns.items())}",
        f"modalities: {modalities}; {params.training_of(name).epochs} epochs; written to params.yaml, where all can be"
        " changed",
        *(f"note: {note}" for note in notes),
        f"about {in_words(decode / workers)} for the features ({workers} workers), {in_words(train)} for a training of"
        " joint; AIM takes some 2 to 4 times that (docs/methods/aim.md)",
        "Next:",
        f"  snakemake --cores {workers} results/{name}_{{joint,joint-uni,aim}}.json",
        f"  equimodal explain datasets.{name}.modalities    # what each key means",
    ]


def table_settings(params: Params, name: str) -> TableSettings:
    """The settings of a dataset that is a table."""
    settings = params.dataset(name)
    assert isinstance(settings, TableSettings)
    return settings


def decoding(params: Params, name: str, sheet: Sheet) -> float:
    """Seconds of one core that all features take, by ten files of each modality."""
    settings, clock = table_settings(params, name), stopwatch(torch.device("cpu"))
    total = 0.0
    for modality, feature in settings.modalities.items():
        column = feature.column if isinstance(feature, ArraySettings) else settings.media[modality]
        if column is None:
            continue  # one file with all rows
        values = sheet.values(column)
        files = spread(values)
        begin = clock()
        for path in files:
            extracted(Path(settings.root), path, feature)
        total += (clock() - begin) / len(files) * len(set(values))
    return total


def extracted(root: Path, path: str, feature: Feature) -> None:
    """Read a whole clip or array as the stage would; what cannot be read costs what it costs."""
    file, place = locate(path) if isinstance(feature, ArraySettings) else (path, Place())
    try:
        kind_of(feature).extract(root / file, [Segment(0, path, None, None, place)], feature)
    except MediaError:
        pass


def training(params: Params, name: str, sheet: Sheet, device: torch.device) -> float:
    """Seconds of a run of joint training, by a few steps on made-up inputs."""
    settings, schedule = table_settings(params, name), params.training_of(name)
    classes = 1 if settings.numbers else len(set(sheet.values(settings.columns.label)))
    shapes = {modality: input_shape(feature) for modality, feature in settings.modalities.items()}
    kinds: dict[str, str] = {modality: feature.kind for modality, feature in settings.modalities.items()}
    model = build_model(shapes, classes, params.model_of(name), params.runtime.channels_last, kinds=kinds).to(device)
    inputs = made_inputs(shapes, schedule.batch_size, device)
    clock, seconds = stopwatch(device), []
    for _ in range(1 + STEPS):  # the first warms up
        begin = clock()
        model(inputs).logits.square().mean().backward()
        seconds.append(clock() - begin)
    steps = math.ceil(0.7 * len(sheet.rows) / schedule.batch_size) * schedule.epochs
    return (1 + EVALUATION) * steps * sum(seconds[1:]) / STEPS


def input_shape(feature: Feature) -> tuple[int, ...]:
    """Shape of one model input, of pictures without the margin that is cropped."""
    stored = kind_of(feature).shape(feature)
    if not isinstance(feature, PictureSettings):
        return stored
    return (stored[0], feature.pick or stored[1], *feature.size)
