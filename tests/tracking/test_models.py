"""Trained models in MLflow for real: one LoggedModel a training, live and rebuilt, never two."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equimodal.params import Params
from equimodal.settings.training import TrackingSettings
from equimodal.store import read_json, write_json
from equimodal.tracking import RunInfo, Tracker

Write = Callable[..., None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_study: Write, write_weights: Write) -> Path:
    """A finished study, of which one training was tracked live and nothing else is in the store."""
    folder = tmp_path_factory.mktemp("models")
    write_study(folder)
    for seed in range(2):
        write_weights(folder / "models/toy/aim" / str(seed) / "val.safetensors", seed=seed)
    return folder


def live(folder: Path) -> None:
    """Track the training of aim, seed 0, as its stage does."""
    content = read_json(folder / "models/toy/aim/0/curves.json")
    params = Params.model_construct(tracking=TrackingSettings(uri=f"sqlite:///{folder}/mlflow.db"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        tracker = Tracker.start(params, RunInfo.from_meta(content["meta"]))
        for row in content["epochs"]:
            tracker.epoch(row["epoch"], row["metrics"])
        tracker.end()
        tracker.close(120)


def rebuilt(folder: Path) -> list[str]:
    """Publish from the files; the problems."""
    from equimodal.tracking.rebuild import rebuild

    return rebuild(f"sqlite:///{folder}/mlflow.db", folder)[1]


def models_of(folder: Path) -> dict[str, Any]:
    """Name -> logged model of the present settings; a name twice fails."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    models = client.search_logged_models([experiment.experiment_id], "tags.current = 'true'")
    assert len({model.name for model in models}) == len(models)
    return {model.name: model for model in models}


def measured(model: Any) -> dict[tuple[str, int], float]:
    """(metric, step) -> value, of what is linked."""
    assert len(model.metrics) == len({(metric.key, metric.run_id) for metric in model.metrics})
    return {(metric.key, metric.step): metric.value for metric in model.metrics}


def test_each_training_is_a_model_once(folder: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    live(folder)
    models = models_of(folder)
    assert list(models) == ["aim-0"] and measured(models["aim-0"]) == {("val/accuracy", 1): 0.6}
    first = models["aim-0"].model_id

    assert rebuilt(folder) == []
    models = models_of(folder)
    assert set(models) == {"aim-0", "aim-1"} and models["aim-0"].model_id == first
    for seed in range(2):
        model = models[f"aim-{seed}"]
        assert str(model.status) == "READY"
        tags = {"dataset": "toy", "method": "aim", "seed": str(seed), "source": "sample", "key": f"aim-{seed}-train"}
        assert model.tags.items() >= {**tags, "current": "true"}.items()
        assert "Generated sample" in model.tags["mlflow.note.content"]
        assert model.params["training.optimizer.lr"] == "0.1"
        assert measured(model) == {("val/accuracy", 1): 0.6, ("accuracy", 0): 0.6 + seed / 10}
        run = client.get_run(model.source_run_id)
        assert run.data.tags["stage"] == "train" and run.data.tags["seed"] == str(seed)
        assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]

    live(folder)  # the finished stage again: another run, the same model
    assert rebuilt(folder) == []
    again = models_of(folder)
    assert {name: model.model_id for name, model in again.items()} == {n: m.model_id for n, m in models.items()}
    assert len(again["aim-0"].metrics) == 3  # the validation accuracy of both runs
    runs = client.search_runs([again["aim-0"].experiment_id], "tags.key = 'aim-0-train'")
    assert [output.model_id for run in runs for output in run.outputs.model_outputs] == [first]


def test_a_model_says_what_it_takes_and_gives(folder: Path) -> None:
    import mlflow

    rebuilt(folder)
    model = models_of(folder)["aim-1"]
    info = mlflow.models.Model.load(model.artifact_location)
    assert info.model_id == model.model_id and info.metadata["source"] == "sample"
    assert info.signature.inputs.input_names() == ["path", "audio", "text", "id", "start", "end"]
    assert info.signature.inputs.required_input_names() == []
    assert info.signature.outputs.input_names() == ["id", "prediction", "probability", "p:yes", "p:no"]
    assert info.load_input_example(model.artifact_location).to_dict("records") == [
        {"path": "clip.mp4", "text": "text.npy#0"}
    ]
    flavor = info.flavors["python_function"]
    assert flavor["loader_module"] == "equimodal.inference.served"
    copy = Path(model.artifact_location, flavor["data"])
    assert copy.read_bytes() == (folder / "models/toy/aim/1/val.safetensors").read_bytes()
    required = Path(model.artifact_location, "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in required} == {"equimodal", "torch", "mlflow"} and "+" not in "".join(
        required
    )


def test_other_weights_take_the_place_and_other_settings_retire(folder: Path, write_weights: Write) -> None:
    rebuilt(folder)
    before = models_of(folder)["aim-0"].model_id
    weights, curves = (folder / "models/toy/aim/0" / name for name in ("val.safetensors", "curves.json"))
    write_weights(weights, version="another machine's")
    assert rebuilt(folder) == []
    replaced = models_of(folder)["aim-0"]
    assert replaced.model_id != before and ("val/accuracy", 1) in measured(replaced)

    content = read_json(curves)
    try:
        write_json(curves, {**content, "meta": {**content["meta"], "key": "other-settings"}})
        assert rebuilt(folder) == []
    finally:
        write_json(curves, content)
    from mlflow import MlflowClient

    models = MlflowClient(f"sqlite:///{folder}/mlflow.db").search_logged_models([replaced.experiment_id])
    current = {model.tags["key"]: model.tags["current"] for model in models if model.tags["seed"] == "0"}
    assert current == {"aim-0-train": "false", "other-settings": "true"}


def test_weights_that_say_nothing_are_left_out_and_damaged_ones_named(
    tmp_path: Path, folder: Path, write_study: Write, write_weights: Write
) -> None:
    from equimodal.tracking.rebuild import rebuild

    write_study(tmp_path)
    write_weights(tmp_path / "models/toy/joint/0/val.safetensors", about=False)
    (tmp_path / "models/toy/joint/1/val.safetensors").write_bytes(b"\x08")
    counts, problems = rebuild(f"sqlite:///{folder}/mlflow.db", tmp_path, only=("toy", "joint"))
    assert len(problems) == 1 and "joint/1/val.safetensors" in problems[0]
    assert sum(counts.values()) == 4  # the result, a training, two evaluations
    assert not any(name.startswith("joint") for name in models_of(folder))
