"""Stage summary: one method on one dataset over seeds, as results/D_M.json; its checksum in results/digests/D_M.txt."""

from equimodal import tracking
from equimodal.engines.layout import digest_path, manifest_path, model_folder, result_path
from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.stages.gathering import gathered
from equimodal.store import atomic, file_sha256, read_manifest, write_json


def run(params: Params, dataset: str, method: str, seeds: list[int]) -> None:
    """Summarise the seeds' evaluation.json, with the operations of the method's step; then publish the result to
    MLflow, which may fail without failing the stage.

    Raises:
        UserError: an evaluation or the count is missing, or was made with other settings or data than the rest.
    """
    found = gathered(dataset, method, seeds)
    if found.data.digest != read_manifest(manifest_path(dataset))["digest"]:
        first = model_folder(dataset, method, seeds[0]) / "evaluation.json"
        raise UserError(
            f"{first} was measured on other data than {manifest_path(dataset)} describes: build it again (snakemake"
            f" --cores 4 -- {first})"
        )
    path = result_path(dataset, method)
    write_json(path, found.model_dump(mode="json"))
    with atomic(
        digest_path(dataset, method)
    ) as scratch:  # `sha256sum -c` reads it; DVC's tables depend on the folder of them
        scratch.write_text(f"{file_sha256(path)}  {path}\n", encoding="utf-8")
    tracking.publish(params, dataset, method)
