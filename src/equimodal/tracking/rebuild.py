"""Publish runs from files: what is there already stays as it is, what is missing is added."""

from collections import Counter
from pathlib import Path

from equimodal.tracking.files import Record, records, results
from equimodal.tracking.runs import Runs


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
            counts[_publish(runs, record, spare_live=only is not None)] += 1
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
    run.tag({"content": content})
    if run.stored.info.status != "FINISHED":
        run.end("FINISHED", record.ended)
    return "added" if found is None else "updated"
