"""Models in the registry, and what `mlflow models` makes of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny_dataset
from equimodal.errors import UserError
from equimodal.inference.model import load
from equimodal.stages import register
from equimodal.store import read_json, write_json

Write = Callable[..., None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_study: Write, write_weights: Write) -> Path:
    """A study of two seeds whose validation accuracies are 0.6 and 0.9; nothing of it is in a store."""
    folder = tmp_path_factory.mktemp("registry")
    write_study(folder)
    for seed in range(2):
        place = folder / "models/toy/aim" / str(seed)
        write_weights(place / "val.safetensors", seed=seed)
        curves = read_json(place / "curves.json")
        curves["epochs"][1]["metrics"]["val/accuracy"] = (0.6, 0.9)[seed]
        curves["epochs"][0]["metrics"]["val/accuracy"] = (0.95, 0.65)[seed]  # of an epoch that was not chosen
        write_json(place / "curves.json", curves)
    return folder


def test_the_best_seed_gets_a_name_and_an_alias(folder: Path) -> None:
    from mlflow import MlflowClient

    from equimodal.tracking.registry import register as put

    uri = f"sqlite:///{folder}/mlflow.db"
    first = put(uri, "toy", "aim", None, "champion", folder)
    assert (first.name, first.version, first.seed, first.accuracy) == ("toy-aim", "1", 1, 0.9)
    assert first.uri == "models:/toy-aim@champion"
    assert put(uri, "toy", "aim", 1, "champion", folder) == first  # the version that there is
    other = put(uri, "toy", "aim", 0, "challenger", folder)
    assert (other.version, other.seed) == ("2", 0)

    client = MlflowClient(uri)
    for done in (first, other):
        version = client.get_model_version_by_alias("toy-aim", done.alias)
        assert str(version.version) == done.version and version.tags["seed"] == str(done.seed)
        assert version.tags["source"] == "sample" and "Generated sample" in version.description
        (model,) = (
            model
            for model in client.search_logged_models([client.get_experiment_by_name("toy").experiment_id])
            if model.tags["seed"] == str(done.seed)
        )
        assert version.source == model.artifact_location and version.run_id == model.source_run_id
        assert [str(each["version"]) for each in json.loads(model.tags["mlflow.modelVersions"])] == [done.version]
    again = put(uri, "toy", "aim", None, "challenger", folder)
    assert str(client.get_model_version_by_alias("toy-aim", "challenger").version) == again.version == "1"


def test_what_cannot_be_registered_is_said(folder: Path) -> None:
    from equimodal.tracking.registry import register as put

    uri = f"sqlite:///{folder}/mlflow.db"
    with pytest.raises(UserError, match=r"joint on toy: train it first .*models/toy/joint/0/val\.safetensors"):
        put(uri, "toy", "joint", None, "champion", folder)
    with pytest.raises(UserError, match="aim on toy, seed 5"):
        put(uri, "toy", "aim", 5, "champion", folder)
    with pytest.raises(UserError, match="--alias 'v7'"):
        put(uri, "toy", "aim", None, "v7", folder)
    params = tiny_dataset.params(tracking={"uri": "sqlite:////proc/nothing/mlflow.db"})
    with pytest.raises(UserError, match=r"cannot register at sqlite:////proc/nothing"):
        register.run(params, "toy", "aim", None, "champion")


@pytest.mark.slow
def test_mlflow_answers_a_request_with_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command that docs/tracking.md names, in a process of its own."""
    from equimodal.stages import train

    monkeypatch.chdir(tmp_path)
    names = ["text", "face"]
    tiny_dataset.write(tmp_path, names)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    params = tiny_dataset.params(names, tracking={"enabled": False, "uri": uri})
    train.run(params, "tiny", "joint", 0)
    register.run(params, "tiny", "joint", None, "champion")
    assert "tiny-joint version 1 is joint seed 0, validation accuracy 0." in capsys.readouterr().out
    clip = {name: f"data/tiny/features/{name}.npy#3" for name in names}
    request = {"dataframe_records": [{**clip, "id": "mine"}]}
    Path("request.json").write_text(json.dumps(request))
    words = "-m mlflow models predict -m models:/tiny-joint@champion --env-manager local -i request.json"
    done = subprocess.run(
        [sys.executable, *words.split()],
        env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout.strip().splitlines()[-1])["predictions"]
    expected = load("models/tiny/joint/0/val.safetensors").predictions(clip)
    assert (answer["id"], answer["prediction"]) == ("mine", expected.labels[0])
    assert answer["probability"] == pytest.approx(expected.fused.max())
