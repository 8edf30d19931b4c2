"""Stage evaluate on the tiny dataset, with weights that no training made: only the measures matter here."""

import pytest
import torch
from sklearn import metrics

import tiny_dataset
from equimodal.engines.layout import model_folder
from equimodal.errors import UserError
from equimodal.stages import evaluate, operations
from equimodal.stages.setup import Setup
from equimodal.store import read_json, write_json, write_tensors
from equimodal.training.measure import measures, predict

EPOCHS = {"val": 1, "last": 2, "test": 1}


@pytest.fixture
def weights(tiny):
    """Write the weights of a method with seed 0: rules of equal epoch have equal ones."""

    def write(method="joint", **overrides):
        params = tiny_dataset.params(**overrides)
        setup = Setup.open(params, "tiny", method, 0)
        models = {}
        write_json(
            model_folder("tiny", method, 0) / "curves.json",
            {"meta": setup.meta("train", "key"), "epochs": [], "selected": EPOCHS},
        )
        for rule, epoch in EPOCHS.items():
            model = setup.model()
            torch.manual_seed(epoch)
            for parameter in model.parameters():
                parameter.data.add_(0.1 * torch.randn_like(parameter))
            write_tensors(
                model_folder("tiny", method, 0) / f"{rule}.safetensors",
                model.state_dict(),
                {"rule": rule, "epoch": epoch, "modalities": model.modalities, "structure": {}},
            )
            models[rule] = model
        return params, setup, models

    return write


def found(method="joint"):
    return read_json(model_folder("tiny", method, 0) / "evaluation.json")


def test_measures_are_those_of_the_training_loop_and_of_scikit_learn(weights):
    params, setup, models = weights()
    evaluate.run(params, "tiny", "joint", 0)
    for rule, model in models.items():
        chosen = found()["selection"][rule]
        assert chosen["epoch"] == EPOCHS[rule]
        for split in ("val", "test"):
            predictions = predict(model, setup.data, split, 32)
            logged = measures(predictions, setup.data.objective, split)
            assert chosen[split]["accuracy"] == logged[f"{split}/accuracy"]
            assert chosen[split]["macro_f1"] == logged[f"{split}/macro_f1"]
            assert chosen[split]["modalities"]["split"] == {
                name: logged[f"{split}/{name}/accuracy"] for name in ("audio", "visual")
            }
            guesses = predictions.logits.argmax(1)
            assert (
                chosen[split]["confusion"]
                == metrics.confusion_matrix(predictions.labels, guesses, labels=range(3)).tolist()
            )
            assert chosen[split]["macro_f1"] == pytest.approx(
                metrics.f1_score(predictions.labels, guesses, average="macro", zero_division=0)
            )


def test_predictions_are_by_the_head_s_own_rule(weights):
    params, setup, models = weights("mla", methods={"mla": {}})
    evaluate.run(params, "tiny", "mla", 0)
    model = models["val"]
    predictions = predict(model, setup.data, "test", 32)
    guesses = predictions.logits.argmax(1)
    assert (guesses != model.fuse(predictions.features).argmax(1)).any(), "another rule than the training's"
    expected = metrics.confusion_matrix(predictions.labels, guesses, labels=range(3)).tolist()
    assert found("mla")["selection"]["val"]["test"]["confusion"] == expected


def test_each_rule_has_its_own_weights(weights):
    params, _, _ = weights()
    evaluate.run(params, "tiny", "joint", 0)
    selection = found()["selection"]
    assert selection["val"]["test"] == selection["test"]["test"]
    assert selection["val"]["test"] != selection["last"]["test"]


def test_imbalance_of_the_chosen_weights(weights):
    params, _, _ = weights()
    evaluate.run(params, "tiny", "joint", 0)
    content = found()
    assert set(content["gap"]) == {"split", "zero-feature", "probe"}
    assert content["gap"]["probe"] == pytest.approx(abs(content["probe"]["audio"] - content["probe"]["visual"]))
    assert {name: len(line) for name, line in content["s"].items()} == {"audio": 4, "visual": 4}
    for alpha, a, v in zip(content["alpha"], content["s"]["audio"], content["s"]["visual"], strict=True):
        assert alpha == pytest.approx(abs(a - v) / (a + v))
    # class signal survives a random first block: shallow depths are not flat at 1/K
    assert content["s"]["audio"][0] > 1 / 3 + 0.1


def test_same_weights_same_bytes(weights):
    params, _, _ = weights()
    path = model_folder("tiny", "joint", 0) / "evaluation.json"
    evaluate.run(params, "tiny", "joint", 0)
    first = path.read_bytes()
    torch.manual_seed(123)  # whatever ran before
    evaluate.run(params, "tiny", "joint", 0)
    assert path.read_bytes() == first
    assert str(path.parents[3].resolve()).encode() not in first


def test_one_modality(weights):
    params, _, _ = weights("visual")
    evaluate.run(params, "tiny", "visual", 0)
    content = found("visual")
    assert content["alpha"] is None
    assert set(content["gap"].values()) == {None}
    assert list(content["s"]) == list(content["probe"]) == ["visual"]
    chosen = content["selection"]["val"]["test"]
    assert chosen["modalities"]["split"]["visual"] == chosen["accuracy"]


def test_film_names_its_readout(weights):
    params, _, _ = weights(model={"fusion": "film"})
    evaluate.run(params, "tiny", "joint", 0)
    assert set(found()["selection"]["val"]["test"]["modalities"]) == {"zero-feature"}
    assert set(found()["gap"]) == {"zero-feature", "probe"}


def test_every_method_s_model_costs_the_same_to_use(weights):
    costs = {}
    for method in ("joint", "aim", "aim-no-pam"):
        params, _, _ = weights(method)
        evaluate.run(params, "tiny", method, 0)
        costs[method] = found(method)["flops"]
        assert found(method)["parameters"] == found("joint")["parameters"]
    assert costs["joint"] == costs["aim"] == costs["aim-no-pam"]
    assert costs["joint"]["training_joint"] == operations.training_flops(Setup.open(params, "tiny", "joint", 0))


def test_third_modality(tmp_path, monkeypatch, weights):
    tiny_dataset.write(tmp_path, third=True)
    params, _, _ = weights(third=True)
    evaluate.run(params, "tiny", "joint", 0)
    assert list(found()["probe"]) == ["audio", "motion", "visual"]
    assert len(found()["alpha"]) == 4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"model": {"stem_stride": 2}},
            r"trained with model\.stem_stride = 1, params\.yaml now says 2",
        ),  # would load, and measure nonsense
        (
            {"methods": {"joint-uni": {"weight": 3.0}}},
            r"trained with method\.weight = 1\.0, params\.yaml now says 3\.0",
        ),
    ],
    ids=["model", "method"],
)
def test_refuses_weights_of_other_settings(weights, changed, message):
    weights("joint-uni")
    with pytest.raises(UserError, match=message):
        evaluate.run(tiny_dataset.params(**changed), "tiny", "joint-uni", 0)
    assert not (model_folder("tiny", "joint-uni", 0) / "evaluation.json").exists()


def test_refuses_weights_of_other_data(weights, tiny):
    params, _, _ = weights()
    tiny_dataset.write(tiny, seed=1)
    with pytest.raises(UserError, match=r"was trained on other data than data/tiny/manifest\.json describes"):
        evaluate.run(params, "tiny", "joint", 0)


def test_weights_that_do_not_fit_are_one_line(weights):
    params, _, _ = weights()
    path = model_folder("tiny", "joint", 0) / "val.safetensors"
    write_tensors(
        path,
        {"fusion.linear.bias": torch.zeros(2)},
        {"rule": "val", "epoch": 1, "modalities": ["audio", "visual"], "structure": {}},
    )
    with pytest.raises(
        UserError, match=r"models/tiny/joint/0/val\.safetensors does not fit the model that params\.yaml describes"
    ) as refused:
        evaluate.run(params, "tiny", "joint", 0)
    assert "\n" not in str(refused.value)
