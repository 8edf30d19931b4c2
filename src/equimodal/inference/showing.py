"""Predictions on a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from equimodal.inference.columns import decided
from equimodal.inference.predictions import Predictions


def show(found: Predictions, most: int, console: Console | None = None) -> None:
    """Print the first `most` clips: prediction, its probability, and what each modality says alone."""
    if not found.clips:
        return
    console = console or Console(highlight=False)
    table = Table(header_style="bold", box=None, pad_edge=False)
    heads = ["clip", "prediction", *(["probability"] if found.classes else []), *(f"{m} alone" for m in found.alone)]
    for head in heads:
        table.add_column(Text(head), no_wrap=head == "clip")
    alone = {modality: decided(scores, found.classes) for modality, scores in found.alone.items()}
    for number, (clip, label) in enumerate(zip(found.clips[:most], found.labels[:most], strict=True)):
        cells = [clip.id, _told(label)]
        cells += [f"{found.fused[number].max():.3f}"] if found.classes else []
        cells += [_told(labels[number]) for labels in alone.values()]
        table.add_row(*map(Text, cells))
    console.print(table)
    if len(found.clips) > most:
        console.print(f"and {len(found.clips) - most} more: --out FILE.csv writes all")


def _told(label: object) -> str:
    return f"{label:.3f}" if isinstance(label, float) else str(label)
