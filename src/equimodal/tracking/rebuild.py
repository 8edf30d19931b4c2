"""Publish runs from files: what is there already stays as it is, what is missing is added."""

from collections import Counter
from pathlib import Path

from equimodal.errors import UserError
from equimodal.tracking.files import Record, records, results
from equimodal.tracking.models import Models
from equimodal.tracking.runs import Runs

TEST = ("accuracy", "macro_f1", "mae")  # of an evaluation's headline, linked to the model


def rebuild(uri: str, root: Path = Path(), only: tuple[str, str] | None = None) -> tuple[Counter[str], list[str]]:
    """Publish every result below `root`, or `only` (dataset, method).

    With `only`, which runs beside other stages, a live run that has not ended yet is left to its own process.

    Returns:
        Runs counted as "added", "updated" or "unchanged", and one line for each file that could not be read.

    Raises:
        RuntimeError, mlflow.exceptions.MlflowException: the store cannot be opened or written.
    """
    wanted = results(root) if only is None else [only]
    counts: Counter[str] = Counter()
    problems: list[str] = []
    runs = Runs(uri) if wanted else None
    for dataset, method in wanted:
        assert runs is not None
        for record in records(root, dataset, method, problems):
            try:
                counts[_publish(runs, record, spare_live=only is not None)] += 1
            except UserError as error:  # damaged weights
                problems.append(str(error))
    return counts, problems


def _publish(runs: Runs, record: Record, spare_live: bool) -> str:
    found = runs.find(record.info)
    if (
        spare_live
        and found is not None
        and found.info.status == "RUNNING"
        and record.info.stage != "result"
        and found.data.tags.get("rebuilt") == "false"
    ):
        return "unchanged"
    content = record.content
    if found is not None and found.data.tags.get("content") == content and found.info.status == "FINISHED":
        return "unchanged"
    run = runs.open(record.info, record.started, rebuilt=True)
    run.log(record.points)
    for path, folder in record.artifacts:
        run.artifact(path, folder)
    models = Models(runs)
    if record.weights is not None:
        models.log(run, record.weights)
    if record.measured is not None:
        for model in models.find(run.experiment, key=record.measured):
            models.measured(model, run, 0, TEST)
    run.tag({"content": content})
    if run.stored.info.status != "FINISHED":
        run.end("FINISHED", record.ended)
    return "added" if found is None else "updated"
