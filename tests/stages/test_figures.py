"""Stage figures: which files, from which inputs."""

import pytest

import made_results
import tiny_dataset
from equimodal import tracking
from equimodal.errors import UserError
from equimodal.stages import figures

PLAIN = {
    f"{name}.{ending}" for name in ("curves", "imbalance", "confusion", "reliability") for ending in ("svg", "png")
}
WARM = PLAIN | {f"{name}.{ending}" for name in ("scores", "alpha", "prototypes") for ending in ("svg", "png")}


@pytest.fixture
def params(tmp_path, monkeypatch):
    """Settings in which `made` is a dataset."""
    monkeypatch.chdir(tmp_path)
    return tiny_dataset.params(
        datasets={
            "made": {"kind": "table", "root": "raw", "table": "samples.csv", "modalities": tiny_dataset.MODALITIES}
        }
    )


def drawn(tmp_path, method):
    return {path.name for path in (tmp_path / "results/figures" / f"made_{method}").iterdir()}


def test_plain_methods_have_three_figures(params, tmp_path):
    made_results.write(tmp_path, "joint")
    figures.run(params, "made", "joint")
    assert drawn(tmp_path, "joint") == PLAIN


def test_methods_from_a_warmup_have_six_and_share_the_fits_log(params, tmp_path):
    made_results.write(tmp_path, "aim-no-pam", seeds=1, modulated=True)
    figures.run(params, "made", "aim-no-pam")
    assert drawn(tmp_path, "aim-no-pam") == WARM


def test_needs_results_curves_and_logs_only(params, tmp_path):
    made_results.write(tmp_path, "aim", seeds=2, modulated=True)
    (tmp_path / "models/made/prototypes/1/aim.json").unlink()
    with pytest.raises(UserError, match=r"models/made/prototypes/1/aim\.json is missing"):
        figures.run(params, "made", "aim")
    assert not (tmp_path / "results/figures").exists()


def test_old_figures_give_way(params, tmp_path):
    made_results.write(tmp_path, "joint", seeds=1)
    old = tmp_path / "results/figures/made_joint/old.svg"
    old.parent.mkdir(parents=True)
    old.write_text("")
    figures.run(params, "made", "joint")
    assert drawn(tmp_path, "joint") == PLAIN


def test_figures_join_the_result_in_mlflow(params, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(tracking, "publish", lambda params, dataset, method: told.append((dataset, method)))
    made_results.write(tmp_path, "joint", seeds=1)
    figures.run(params, "made", "joint")
    assert told == [("made", "joint")]
