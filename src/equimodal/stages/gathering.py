"""Evaluations of several seeds, checked to belong together, as one result: what summary and paper start from."""

from typing import Any

from equimodal.engines.layout import model_folder, operations_path
from equimodal.errors import UserError
from equimodal.report.aggregate import result
from equimodal.report.result import Result
from equimodal.store import digest, read_json


def gathered(dataset: str, method: str, seeds: list[int]) -> Result:
    """The result of a method on a dataset over the seeds' evaluation.json, with the operations of its step.

    Raises:
        UserError: an evaluation or the count is missing, or was made with other settings or data than the rest.
    """
    evaluations = [read_json(model_folder(dataset, method, seed) / "evaluation.json") for seed in seeds]
    counted = read_json(operations_path(dataset, method))
    check_alike(dataset, method, seeds, evaluations)
    check_counted_so(dataset, method, counted, evaluations[0])
    return result(seeds, evaluations, counted["flops"]).in_declared_order()


def check_alike(dataset: str, method: str, seeds: list[int], evaluations: list[dict[str, Any]]) -> None:
    """Refuse to average what does not belong together."""
    settings = digest(evaluations[0]["meta"]["settings"])
    for seed, evaluation in zip(seeds, evaluations, strict=True):
        path = model_folder(dataset, method, seed) / "evaluation.json"
        meta = evaluation["meta"]
        if meta["seed"] != seed or meta["method"] != method or meta["dataset"] != dataset:
            raise UserError(
                f"{path} is of {meta['dataset']} {meta['method']}, seed {meta['seed']}: build it again"
                f" (snakemake --cores 4 -- {path})"
            )
        if meta["data_digest"] != evaluations[0]["meta"]["data_digest"]:
            raise UserError(
                f"{path} was measured on other data than seed {seeds[0]}: build both again (snakemake"
                f" --cores 4 -- {path})"
            )
        if "data" not in evaluation:
            raise UserError(
                f"{path} is of an earlier version, which did not say what data it is of: build it again (snakemake"
                f" --cores 4 -- {path})"
            )
        if digest(meta["settings"]) != settings:
            raise UserError(
                f"{path} was trained with other settings than seed {seeds[0]}: build both again (snakemake"
                f" --cores 4 -- {path})"
            )


def check_counted_so(dataset: str, method: str, counted: dict[str, Any], evaluation: dict[str, Any]) -> None:
    """Refuse a count of operations with other settings or data than the evaluations'."""
    path, meta = operations_path(dataset, method), evaluation["meta"]
    if counted["data_digest"] != meta["data_digest"] or digest(counted["settings"]) != digest(meta["settings"]):
        raise UserError(
            f"{path} was counted with other settings or data than the evaluations': build it again (snakemake"
            f" --cores 4 -- {path})"
        )
