"""Stage paper: a table or a figure of `studies`, as results/paper/STUDY.*, from evaluations, curves and logs alone."""

from collections.abc import Callable

from matplotlib.figure import Figure

from equimodal.engines.layout import fit_path, model_folder, paper_path
from equimodal.params import Params
from equimodal.params.studies import paper_study
from equimodal.report.curves import Curves
from equimodal.report.document import Document
from equimodal.report.figures.style import style, write
from equimodal.report.paper import accuracy, curves, depths, leaderboard, points, ranks, unimodal
from equimodal.report.paper.material import Material
from equimodal.stages.gathering import gathered
from equimodal.store import atomic, read_json

TABLES: dict[str, Callable[[Material], Document]] = {
    "accuracy": accuracy.document,
    "unimodal": unimodal.document,
    "leaderboard": leaderboard.document,
}
FIGURES: dict[str, Callable[[Material], Figure]] = {
    "modalities": curves.draw_modalities,
    "prototypes": depths.draw_prototypes,
    "blocks": depths.draw_blocks,
    "alpha": depths.draw_alpha,
    "start-epochs": points.draw_start_epochs,
    "convergence": curves.draw_convergence,
    "tradeoff": points.draw_tradeoff,
    "critical-difference": ranks.draw,
}


def run(params: Params, study: str) -> None:
    """Write the study's files; the same inputs give the same bytes."""
    material = collected(params, study)
    show = params.studies[study].show
    if show in TABLES:
        for ending, text in TABLES[show](material).formats().items():
            with atomic(paper_path(study, ending.removeprefix("."))) as scratch:
                scratch.write_text(text, encoding="utf-8")
        return
    with style():
        figure = FIGURES[show](material)
        for ending in params.studies[study].endings:
            with atomic(paper_path(study, ending)) as scratch:
                write(figure, scratch)


def collected(params: Params, name: str) -> Material:
    """The study's results over its own seeds, and its curves."""
    study = paper_study(params, name)
    fits = {}
    if study.settings.show == "prototypes":
        owners = {pair: params.fit_of(*pair) for pair in study.pairs}
        fits = {
            pair: [read_json(fit_path(pair[0], owner, seed).with_suffix(".json"))["log"] for seed in study.seeds]
            for pair, owner in owners.items()
        }
    return Material(
        name=name,
        datasets=list(dict.fromkeys(dataset for dataset, _ in study.pairs)),
        methods=[method for method in study.settings.methods if any(method == m for _, m in study.pairs)],
        results={pair: gathered(*pair, study.seeds) for pair in study.pairs},
        curves={
            pair: Curves([read_json(model_folder(*pair, seed) / "curves.json") for seed in study.seeds])
            for pair in study.pairs
        },
        refused=study.refused,
        fits=fits,
    )
