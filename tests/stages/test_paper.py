"""Stage paper: evaluations and curves of a study's seeds in, its table or figure out."""

from pathlib import Path
from typing import Any

import pytest

import made_results
import tiny_dataset
from equimodal.engines.declarations import paper_inputs
from equimodal.engines.layout import fit_path, model_folder, operations_path, paper_path
from equimodal.errors import UserError
from equimodal.params import Params, parse_params
from equimodal.params.studies import paper_study
from equimodal.stages import paper
from equimodal.store import write_json


def params_with(**studies: dict[str, Any]) -> Params:
    raw = tiny_dataset.raw_params(studies=studies)
    raw["datasets"]["made"] = raw["datasets"]["tiny"]
    return parse_params(raw)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Evaluations, curves and logs of joint and aim, seeds 0 to 3, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for method in ("joint", "aim"):
        for seed in range(4):
            folder = model_folder("made", method, seed)
            settings = {"start_epoch": 3} if method == "aim" else {}
            write_json(folder / "evaluation.json", made_results.evaluation(seed, method, **settings))
            write_json(folder / "curves.json", made_results.curves(seed, method == "aim"))
            write_json(fit_path("made", "aim", seed).with_suffix(".json"), made_results.log(seed))
        meta = made_results.evaluation(0, method, **settings)["meta"]
        write_json(operations_path("made", method), made_results.operations(**meta))
    return tmp_path


def study(show: str, **more: Any) -> dict[str, Any]:
    return {"show": show, "datasets": ["made"], "methods": ["joint", "aim"], **more}


def test_a_table_in_four_formats(there: Path) -> None:
    paper.run(params_with(table2=study("accuracy", seeds=[3, 1])), "table2")
    assert sorted(path.name for path in (there / "results/paper").iterdir()) == [
        f"table2.{ending}" for ending in ("csv", "html", "md", "tex")
    ]
    text = (there / "results/paper/table2.md").read_text()
    assert "seeds 3, 1" in text and "| Joint" in text and "| AIM" in text and "generated sample" in text


@pytest.mark.parametrize("show", paper.FIGURES)
def test_a_figure_in_three_formats(there: Path, show: str) -> None:
    methods = ["aim"] if show in ("prototypes", "blocks") else ["joint", "aim"]
    params = params_with(figure=study(show) | {"methods": methods})
    paper.run(params, "figure")
    assert sorted(path.name for path in (there / "results/paper").iterdir()) == [
        f"figure.{ending}" for ending in ("pdf", "png", "svg")
    ]


def test_every_kind_of_study_can_be_drawn() -> None:
    from typing import get_args

    from equimodal.settings.studies import FigureKind, TableKind

    assert set(paper.TABLES) == set(get_args(TableKind)) and set(paper.FIGURES) == set(get_args(FigureKind))


def test_it_is_drawn_from_nothing_but_the_declared_files(there: Path) -> None:
    """Every file that the engines do not declare as its input may be missing."""
    for show in ("accuracy", "prototypes"):
        methods = ["aim"] if show == "prototypes" else ["joint", "aim"]
        params = params_with(one=study(show, seeds=[0, 2]) | {"methods": methods})
        declared = {path for paths in paper_inputs(params, "one").values() for path in paths}
        hidden = [path for path in Path("models").rglob("*.json") if str(path) not in declared]
        assert hidden and len(hidden) < len(list(Path("models").rglob("*.json")))
        for path in hidden:
            path.rename(path.with_suffix(".hidden"))
        paper.run(params, "one")
        endings = ("pdf", "png", "svg") if show == "prototypes" else ("csv", "html", "md", "tex")
        assert all(paper_path("one", ending).stat().st_size for ending in endings)
        for path in hidden:
            path.with_suffix(".hidden").rename(path)


def test_modalities_are_in_their_declared_order(there: Path) -> None:
    for seed in range(4):
        evaluation = made_results.evaluation(seed, modalities=("visual", "audio"))
        write_json(model_folder("made", "joint", seed) / "evaluation.json", evaluation)
    found = paper.collected(params_with(one=study("unimodal", methods=["joint"])), "one")
    assert list(found.results["made", "joint"].imbalance.s) == ["visual", "audio"]


def test_mixed_evaluations_are_refused(there: Path) -> None:
    path = model_folder("made", "joint", 1) / "evaluation.json"
    write_json(path, made_results.evaluation(2))
    with pytest.raises(UserError, match=r"joint/1/evaluation\.json is of made joint, seed 2: build it again"):
        paper.run(params_with(table2=study("accuracy")), "table2")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methods": ["joint", "ami"]}, r"unknown method 'ami'.*did you mean 'aim'"),
        ({"datasets": ["maid"]}, "unknown dataset 'maid'.*did you mean 'made'"),
        ({"methods": ["joint", "joint"]}, "studies.one.*methods names something twice"),
        ({"seeds": []}, r"studies\.one\.seeds"),
        ({"show": "acuracy"}, r"studies\.one\.show"),
        ({"show": "prototypes"}, "shows prototypes, which 'joint' does not have: name variants of aim"),
    ],
)
def test_a_study_that_cannot_be_is_refused_when_it_is_read(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        params_with(one=study("accuracy") | change)


def test_a_pair_that_a_dataset_refuses_is_left_out_with_its_reason() -> None:
    raw = tiny_dataset.raw_params(studies={"one": study("accuracy", methods=["joint", "aim"])})
    raw["datasets"]["made"] = {**raw["datasets"]["tiny"], "modalities": {"audio": tiny_dataset.MODALITIES["audio"]}}
    found = paper_study(parse_params(raw), "one")
    assert found.pairs == [("made", "joint")]
    assert len(found.refused) == 1 and "'aim' balances modalities and needs two or more" in found.refused[0]
    raw["studies"]["one"]["methods"] = ["aim"]
    with pytest.raises(UserError, match=r"no method of studies\.one works with its datasets: method 'aim' balances"):
        parse_params(raw)
