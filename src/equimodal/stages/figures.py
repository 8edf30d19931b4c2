"""Stage figures: a result's figures as SVG and PNG, from its JSON and its seeds' curves alone."""

from equimodal import tracking
from equimodal.engines.layout import figures_folder, fit_path, model_folder, result_path
from equimodal.params import Params
from equimodal.report.curves import Curves
from equimodal.report.figures import confusion, cosines, imbalance, reliability, scores, training
from equimodal.report.figures.style import save, style
from equimodal.report.result import Result
from equimodal.store import atomic, read_json


def run(params: Params, dataset: str, method: str) -> None:
    """Write {curves,imbalance,confusion} for every method, reliability for classes, {scores,alpha,prototypes} for those
    that start from a warm-up and measure depths.

    The same inputs give the same bytes. The figures then join the result's run in MLflow.
    """
    result = Result.read(result_path(dataset, method))
    curves = Curves([read_json(model_folder(dataset, method, seed) / "curves.json") for seed in result.seeds])
    with style():
        drawn = {
            "curves": training.draw(result, curves),
            "imbalance": imbalance.draw(result),
            "confusion": confusion.draw(result),
        }
        if result.calibration is not None:
            drawn["reliability"] = reliability.draw(result)
        if params.family(method) == "from-warmup" and curves.depths():
            owner = params.fit_of(dataset, method)
            logs = [read_json(fit_path(dataset, owner, seed).with_suffix(".json"))["log"] for seed in result.seeds]
            drawn |= {
                "scores": scores.draw_scores(result, curves),
                "alpha": scores.draw_alpha(result, curves),
                "prototypes": cosines.draw(result, logs),
            }
        with atomic(figures_folder(dataset, method)) as folder:
            folder.mkdir()
            for name, figure in drawn.items():
                save(figure, folder / name)
    tracking.publish(params, dataset, method)
