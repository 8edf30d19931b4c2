"""Stage summary: one method on one dataset over seeds, as results/D_M.json; its checksum in results/digests/D_M.txt."""

from equimodal import tracking
from equimodal.engines.layout import digest_path, result_path
from equimodal.params import Params
from equimodal.stages.gathering import gathered
from equimodal.store import atomic, file_sha256, write_json


def run(params: Params, dataset: str, method: str, seeds: list[int]) -> None:
    """Summarise the seeds' evaluation.json, with the operations of the method's step; then publish the result to
    MLflow, which may fail without failing the stage.

    Raises:
        UserError: an evaluation or the count is missing, or was made with other settings or data than the rest.
    """
    path = result_path(dataset, method)
    write_json(path, gathered(dataset, method, seeds).model_dump(mode="json"))
    with atomic(
        digest_path(dataset, method)
    ) as scratch:  # `sha256sum -c` reads it; DVC's tables depend on the folder of them
        scratch.write_text(f"{file_sha256(path)}  {path}\n", encoding="utf-8")
    tracking.publish(params, dataset, method)
