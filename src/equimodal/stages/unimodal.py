"""Stage unimodal: hand a trained model of one modality to the methods that start from such models.

A copy, so that DVC, which takes no list of files that differs from dataset to dataset, can depend on one folder of
them.
"""

import shutil

from equimodal.engines.layout import chosen_path, unimodal_path
from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.store import atomic


def run(params: Params, dataset: str, method: str, seed: int) -> None:
    """Copy the weights that validation chose.

    Raises:
        UserError: the method is not one of a single modality, or has not been trained.
    """
    if params.method(dataset, method).kind != "unimodal":
        raise UserError(f"{method} is no model of one modality: name a method whose base is unimodal")
    weights = chosen_path(dataset, method, seed)
    if not weights.is_file():
        raise UserError(f"{weights} is missing: build it first (snakemake --cores 4 -- {weights})")
    with atomic(unimodal_path(dataset, method, seed)) as scratch:
        shutil.copyfile(weights, scratch)
