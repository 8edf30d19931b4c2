"""Stage overview: the study's results side by side."""

import pytest

import made_results
import tiny_dataset
from equimodal.errors import UserError
from equimodal.stages import overview

METHODS = ["joint", "aim"]


@pytest.fixture
def params(tmp_path, monkeypatch):
    """A study of two methods with results in the current folder."""
    monkeypatch.chdir(tmp_path)
    for method in METHODS:
        made_results.write(tmp_path, method, seeds=2)
    return tiny_dataset.params(study={"from-scratch": ["joint"], "from-warmup": ["aim"]})


def test_methods_in_the_studys_order_with_every_rule(params, tmp_path):
    overview.run(params, "made")
    text = (tmp_path / "results/tables/made.md").read_text()
    assert text.index("made_joint") < text.index("made_aim")
    assert "best on test: the literature's rule, optimistic" in text and "no result" in text
    page = (tmp_path / "results/tables/made.html").read_text()
    assert "made_aim" in page and "<p class=note>" in page and "<script" not in page


def test_same_results_same_bytes(params, tmp_path):
    overview.run(params, "made")
    first = {path.name: path.read_bytes() for path in (tmp_path / "results/tables").iterdir()}
    overview.run(params, "made")
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "results/tables").iterdir()}
    assert set(first) == {"made.md", "made.html"}


def test_missing_result_is_named(params, tmp_path):
    (tmp_path / "results/made_aim.json").unlink()
    with pytest.raises(UserError, match=r"results/made_aim\.json is missing"):
        overview.run(params, "made")
