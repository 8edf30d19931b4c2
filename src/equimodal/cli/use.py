"""Subcommands for people who use the installed package and what was trained. No params.yaml is read."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from equimodal.cli.program import app, set_threads
from equimodal.errors import UserError

command = partial(app.command, rich_help_panel="Use: a folder to work in, trained models")

ModelArgument = Annotated[
    Path, typer.Argument(help="results/D_M.json (all its seeds), a model's val.safetensors, or an exported folder")
]
ThreadsOption = Annotated[int, typer.Option(min=1, help="CPU threads of the model")]
SHOWN = 20  # predictions on a terminal


@command()
def init(folder: Annotated[Path, typer.Argument(help="where to work; made when it is not there")]) -> None:
    """Make a folder to work in without a checkout, for Snakemake and DVC. Overwrites nothing."""
    from equimodal.stages.init import run

    run(folder)


@command()
def predict(
    model: ModelArgument,
    clips: Annotated[
        list[str],
        typer.Argument(help="media or array files, a CSV, audio=a.wav,visual=b.mp4, or - for paths on standard input"),
    ],
    out: Annotated[Path | None, typer.Option(help="CSV to write; - for standard output")] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes that decode media")] = 2,
    batch: Annotated[int, typer.Option(min=1, help="clips in a forward pass")] = 64,
    threads: ThreadsOption = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
) -> None:
    """Predict clips: probabilities, what each modality says alone, and which files could not be read."""
    words = [line.strip() for line in sys.stdin if line.strip()] if clips == ["-"] else clips
    set_threads(threads)
    from equimodal.inference.clips import named
    from equimodal.inference.model import load, summary
    from equimodal.inference.showing import show

    loaded = load(model, device)
    print(summary(loaded), file=sys.stderr)
    found = loaded.predictions(named(words, loaded.about), workers, batch, progress=True)
    if str(out) == "-":
        found.to_csv(sys.stdout)
    elif out is not None:
        found.save(out)
    else:
        show(found, SHOWN)
    for modality, count in found.filled.items():
        print(f"{count} clips without {modality}: zeros in its place, as in training", file=sys.stderr)
    for gone in found.rejected[:SHOWN]:
        print(f"rejected: {gone.clip.id}: {gone.modality}: {gone.reason}", file=sys.stderr)
    if found.rejected:
        where = f"{out} has all of them" if out is not None else "--out FILE.csv lists all of them"
        line = f"{len(found.rejected)} of {len(found.rejected) + len(found.clips)} clips could not be read; {where}"
        if not found.clips:
            raise UserError(line)
        print(line, file=sys.stderr)


@command()
def export(
    model: ModelArgument,
    folder: Annotated[Path, typer.Argument(help="where to write it; an earlier export is replaced")],
    onnx: Annotated[bool, typer.Option(help="also model.onnx, checked against onnxruntime")] = True,
) -> None:
    """Write a model as a folder that others can use: weights, config.json, a model card, ONNX."""
    set_threads(1)
    from equimodal.inference.export import export as write

    done = write(model, folder, onnx)
    checked = "" if done.difference is None else f"; ONNX differs from torch by at most {done.difference:.1g}"
    print(f"{done.folder}/: {', '.join(done.files)}{checked}")


@command()
def diagnose(
    model: ModelArgument,
    split: Annotated[Literal["val", "test"], typer.Option(help="held-out samples of the model's dataset")] = "test",
    seed: Annotated[int | None, typer.Option(help="of a result: which model; its first when not given")] = None,
    measures: Annotated[
        str | None, typer.Option(help="such as zero,emap, or all; the default set when not given")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="page to write, figures inside")] = None,
    json: Annotated[Path | None, typer.Option(help="file to write")] = None,
    batch: Annotated[int, typer.Option(min=1, help="samples in a forward pass")] = 256,
    threads: ThreadsOption = 1,
) -> None:
    """Say which modalities a model uses and whether it is out of balance, on its own held-out data (data/D)."""
    set_threads(threads)
    from equimodal.stages import diagnose as stage

    names = measures.split(",") if measures not in (None, "all") else measures
    report = stage.run(model, split, names, seed, batch)
    print(report)
    if html is not None:
        report.to_html(html)
    if json is not None:
        json.write_text(report.to_json(), encoding="utf-8")
