"""Put a trained model into MLflow's registry, so that `mlflow models serve` finds it by a name."""

from equimodal.params import Params
from equimodal.tracking.info import without_password
from equimodal.tracking.store import store


def run(params: Params, dataset: str, method: str, seed: int | None, alias: str) -> None:
    """Register the model of a seed (None: the best on the validation split) as DATASET-METHOD with an alias, and print
    how it is used.

    Raises:
        UserError: the store cannot be opened, mlflow is missing, or there is no such model.
    """
    uri = params.tracking.uri
    with store(uri, "register at"):
        from equimodal.tracking.registry import register

        done = register(uri, dataset, method, seed, alias)
    measured = "" if done.accuracy is None else f", validation accuracy {done.accuracy:.4f}"
    print(f"{done.name} version {done.version} is {method} seed {done.seed}{measured}; alias {alias}")
    print(f"  MLFLOW_TRACKING_URI={without_password(uri)} mlflow models serve -m {done.uri} --env-manager local")
