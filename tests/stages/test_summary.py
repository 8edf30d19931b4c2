"""Stage summary: evaluations in, one result out."""

import subprocess
import sys

import pytest

import made_results
import tiny_dataset
from equimodal import tracking
from equimodal.engines.layout import operations_path
from equimodal.errors import UserError
from equimodal.report.result import Result
from equimodal.stages import summary
from equimodal.store import read_json, write_json


@pytest.fixture
def params(tmp_path, monkeypatch):
    """Settings, and evaluations of three seeds of `joint` in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "data/made/manifest.json", made_results.manifest())
    for seed in range(3):
        write_json(evaluation(seed), made_results.evaluation(seed))
    write_json(operations_path("made", "joint"), made_results.operations(**made_results.evaluation(0)["meta"]))
    return tiny_dataset.params()


def evaluation(seed):
    from equimodal.engines.layout import model_folder

    return model_folder("made", "joint", seed) / "evaluation.json"


def change(seed, meta):
    content = read_json(evaluation(seed))
    content["meta"] |= meta
    write_json(evaluation(seed), content)


def test_writes_a_result(params, tmp_path):
    summary.run(params, "made", "joint", [0, 1, 2])
    assert Result.read(tmp_path / "results/made_joint.json") == made_results.made("joint")


def test_seeds_asked_for_and_no_others(params, tmp_path):
    summary.run(params, "made", "joint", [2, 0])
    found = Result.read(tmp_path / "results/made_joint.json")
    assert found.seeds == [2, 0]
    assert (
        found.selection.val.accuracy.per_seed[0] == made_results.evaluation(2)["selection"]["val"]["test"]["accuracy"]
    )


def test_same_input_same_bytes(params, tmp_path):
    path = tmp_path / "results/made_joint.json"
    summary.run(params, "made", "joint", [0, 1, 2])
    first = path.read_bytes()
    path.unlink()
    summary.run(params, "made", "joint", [0, 1, 2])
    assert path.read_bytes() == first
    assert first.endswith(b"}\n") and b"NaN" not in first and str(tmp_path).encode() not in first


def test_result_is_published(params, monkeypatch):
    told = []
    monkeypatch.setattr(tracking, "publish", lambda params, dataset, method: told.append((dataset, method)))
    summary.run(params, "made", "joint", [0])
    assert told == [("made", "joint")]


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"data_digest": "0" * 64}, "measured on other data"),
        ({"settings": {"method": {"name": "joint", "kind": "joint", "weight": 2}}}, "other settings than seed 0"),
        ({"seed": 7}, "is of made joint, seed 7"),
        ({"method": "aim"}, "is of made aim"),
    ],
    ids=["data", "settings", "seed", "method"],
)
def test_refuses_to_average_what_does_not_belong_together(params, tmp_path, meta, message):
    change(1, meta)
    with pytest.raises(UserError, match=message) as refused:
        summary.run(params, "made", "joint", [0, 1, 2])
    assert "models/made/joint/1/evaluation.json" in str(refused.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("changed", [{"data_digest": "0" * 64}, {"settings": {}}], ids=["data", "settings"])
def test_refuses_operations_that_were_counted_otherwise(params, tmp_path, changed):
    write_json(operations_path("made", "joint"), read_json(operations_path("made", "joint")) | changed)
    with pytest.raises(UserError, match=r"models/made/joint/operations\.json was counted with other settings or data"):
        summary.run(params, "made", "joint", [0])
    assert not (tmp_path / "results").exists()


def test_an_evaluation_of_an_earlier_version_says_what_to_build(params):
    content = read_json(evaluation(1))
    del content["data"]
    write_json(evaluation(1), content)
    with pytest.raises(UserError, match=r"joint/1/evaluation\.json is of an earlier version.*build it again"):
        summary.run(params, "made", "joint", [0, 1])


def test_missing_operations_say_what_to_build(params):
    operations_path("made", "joint").unlink()
    with pytest.raises(UserError, match=r"models/made/joint/operations\.json is missing"):
        summary.run(params, "made", "joint", [0])


def test_missing_seed_says_what_to_build(params):
    with pytest.raises(UserError, match=r"models/made/joint/3/evaluation\.json is missing"):
        summary.run(params, "made", "joint", [0, 3])


def test_starts_without_torch_and_mlflow():
    heavy = {"torch", "mlflow", "pandas", "sklearn", "matplotlib", "scipy.stats"}
    code = (
        "import sys, equimodal.stages.summary, equimodal.stages.show, equimodal.stages.overview;"
        f" print({heavy} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "set()"
    )
