"""A trained model that answers tables of paths: what MLflow loads (`loader_module`) to serve one. No mlflow here."""

from pathlib import Path

import pandas as pd

from equimodal.inference.clips import tabled
from equimodal.inference.columns import columns
from equimodal.inference.model import ClipsRejected, TrainedModel, load


class Served:
    """A model behind a table."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """A row for every row, in order: `id`, `prediction`, and of classes `probability` and `p:CLASS`.

        Args:
            table: columns as in a CSV of clips (`clips.tabled`), of text; `start` and `end` in seconds. Paths are
                relative to the present folder.

        Raises:
            UserError: no column of files, an empty or wrong cell.
            ClipsRejected: clips that cannot be read: there is no answer for them.
        """
        about = self.model.about
        names = [str(name) for name in table.columns]
        rows = [
            {name: "" if pd.isna(value) else str(value) for name, value in zip(names, row, strict=True)}
            for row in table.itertuples(index=False, name=None)
        ]
        numbered = ((f"the table, row {number}", row) for number, row in enumerate(rows))
        found = self.model.predictions(tabled(numbered, names, about, Path(), "the table"))
        if found.rejected:
            raise ClipsRejected(found.rejected, len(table))
        ids = [clip.id for clip in found.clips]
        return pd.DataFrame({"id": ids, **columns(found.fused, {}, self.model.classes)})


def _load_pyfunc(path: str) -> Served:
    """What MLflow calls, with the model's file."""
    return Served(load(path))
