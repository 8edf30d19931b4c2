"""Probes, class means and logit shares at named submodules, against other ways to the same numbers."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression

import diagnosis_toys as toys
from equimodal.diagnosis.diagnose import diagnose
from equimodal.diagnosis.hooks import pooled
from equimodal.diagnosis.measures.decision import parts
from equimodal.diagnosis.measures.depth import probed, true_class_probability
from equimodal.diagnosis.tasks import Kind
from equimodal.errors import UserError
from equimodal.evaluation.depth import imbalance
from equimodal.evaluation.observe import ClassStatistics, TrueClassProbability
from equimodal.models.framework import Outputs, Stage
from equimodal.objectives import Classification

NAMES = ("audio", "visual")
ENCODERS = {name: f"encoders.{name}" for name in NAMES}


def test_class_mean_scores_are_the_workbenchs() -> None:
    """Against TrueClassProbability, which every result file's s comes from."""
    drawn = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (80,), generator=drawn)
    x = torch.randn(80, 4, generator=drawn, dtype=torch.float64) + labels[:, None] * torch.tensor([1.0, 0, 5, 0])
    folds = torch.arange(80) % 2
    found = true_class_probability(x, labels, folds)
    for fold in (0, 1):
        objective, scored, seen = Classification(3), folds == fold, folds != fold
        statistics = ClassStatistics(objective)
        statistics(Outputs(x[seen], {}, {"m": [Stage(None, None, x[seen])]}), labels[seen])
        score = TrueClassProbability(statistics.prototypes, statistics.spreads, objective)
        score(Outputs(x[scored], {}, {"m": [Stage(None, None, x[scored])]}), labels[scored])
        assert float(found[scored].mean()) == pytest.approx(score.s["m"][0])


def test_alpha_is_eq_14_at_aligned_depths() -> None:
    model, batches = toys.trained({"audio": 3.0, "visual": 0.5}, samples=240)
    layers = {"audio": ["encoders.audio.0"], "visual": ["encoders.visual.0", "encoders.visual.1"]}
    report = diagnose(model, batches, modalities=NAMES, measures="class-mean", layers=layers)
    measured = report.measure("class-mean")
    s = {name: [e.estimate.value for e in measured.find("s", name)] for name in NAMES}
    assert [len(line) for line in s.values()] == [1, 2]
    assert [e.layer for e in measured.find("s", "visual")] == layers["visual"]
    alpha = [e.estimate.value for e in measured.find("alpha", "all")]
    assert alpha == pytest.approx(imbalance({"audio": s["audio"], "visual": s["visual"][1:]}))
    assert s["audio"][0] > s["visual"][0] + 0.2


def test_probes_score_samples_that_they_have_not_seen() -> None:
    """Labels that have nothing to do with wide features: a probe that saw them would be right."""
    drawn = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(150, 60, generator=drawn) for name in NAMES}
    labels = torch.randint(3, (150,), generator=drawn)
    report = diagnose(
        toys.MLPs(dict.fromkeys(NAMES, 60), 3, hidden=60),
        toys.batches(inputs, labels),
        modalities=NAMES,
        measures=["probe", "class-mean"],
        layers={name: [own] for name, own in ENCODERS.items()},
    )
    probe = report.measure("probe")
    assert all(probe.find("score", name)[0].estimate.value < 0.5 for name in NAMES)
    assert probe.find("chance", "all")[0].estimate.value == pytest.approx(float(labels.bincount().max()) / 150)
    assert all(e.estimate.value < 0.45 for e in report.measure("class-mean").entries)


def test_probes_find_what_is_there() -> None:
    model, batches = toys.trained({"audio": 3.0, "visual": 0.0}, samples=240)
    layers = {name: [f"{own}.0", own] for name, own in ENCODERS.items()}
    report = diagnose(model, batches, modalities=NAMES, measures="probe", layers=layers)
    probe = report.measure("probe")
    assert [e.at for e in probe.find("score", "audio")] == [1.0, 2.0]
    assert probe.find("score", "audio")[1].estimate.value > 0.85
    assert probe.find("score", "visual")[1].estimate.value < 0.5
    assert report.passes == 1


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_probes_are_scikit_learns_on_the_other_folds(kind: Kind) -> None:
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(90, 3, generator=drawn, dtype=torch.float64)
    values = x @ torch.randn(3, 2, generator=drawn, dtype=torch.float64) + 0.3 * torch.randn(90, 2, generator=drawn)
    classes = values.argmax(1)
    labels = {"classification": classes, "multilabel": (values > 0).long(), "regression": values}[kind]
    folds = torch.arange(90) % 3
    found = probed(x, labels, folds, kind)
    for fold in range(3):
        train, test = folds == (fold + 1) % 3, folds == fold
        scaled = (x - x[train].mean(0)) / x[train].std(0, unbiased=False)
        if kind == "regression":
            expected = LinearRegression().fit(scaled[train], labels[train]).predict(scaled[test])
            assert found[test].numpy() == pytest.approx(expected, abs=0.15)  # a ridge is a little off
            continue
        wanted = labels[:, None] if kind == "classification" else labels
        decided = found[test].argmax(1)[:, None] if kind == "classification" else (found[test] > 0).long()
        for column in range(wanted.shape[1]):
            probe = LogisticRegression(C=1e3 / 30).fit(scaled[train], wanted[train, column])
            agree = torch.from_numpy(probe.predict(scaled[test])) == decided[:, column]
            assert float(agree.double().mean()) > 0.85


def test_logit_shares_are_covariances() -> None:
    drawn = np.random.default_rng(0)
    features, weight = drawn.normal(size=(50, 5)) + 3, drawn.normal(size=(4, 5))
    weight -= weight.mean(0)
    one, other = features[:, :2] @ weight[:, :2].T, features[:, 2:] @ weight[:, 2:].T
    expected = [sum(np.cov(part[:, k], (one + other)[:, k], ddof=0)[0, 1] for k in range(4)) for part in (one, other)]
    shifted = torch.from_numpy(weight + drawn.normal(size=(1, 5)))  # the same to every class: a softmax sees nothing
    found = parts(torch.from_numpy(features), shifted, [2, 3], centred=True).mean(1)
    assert found.tolist() == pytest.approx(expected)
    total = (features @ shifted.numpy().T).var(0).sum()
    uncentred = parts(torch.from_numpy(features), shifted, [2, 3], centred=False).mean(1)
    assert float(uncentred.sum()) == pytest.approx(total)


def test_logit_shares_of_a_model() -> None:
    model, batches = toys.trained({"audio": 3.0, "visual": 0.3}, samples=240)
    with torch.no_grad():
        model.head.weight[:, 16:] = 0
    by_width = ("head", {"visual": 16, "audio": 16})
    for decision in ("head", by_width):
        report = diagnose(
            model,
            batches,
            modalities=NAMES,
            measures="logit-share",
            encoders=ENCODERS,
            decision=decision,  # type: ignore[arg-type]
        )
        assert [(e.of, e.estimate.value) for e in report.measure("logit-share").entries] == [
            ("audio", 1),
            ("visual", 0),
        ]
    for decision, words in (("encoders.audio.1", "is a ReLU"), ("head", "pass decision= as")):
        report = diagnose(model, batches, modalities=NAMES, measures="logit-share", decision=decision)
        assert words in report.notes[0]


def test_pooling() -> None:
    x = torch.arange(24.0).view(2, 3, 2, 2)
    assert torch.equal(pooled(x[:, :, 0, 0], 2, "m"), x[:, :, 0, 0].double())
    assert torch.equal(pooled(x, 2, "m"), x.mean((2, 3)).double())
    assert torch.equal(pooled((x[:, :, 0], x), 2, "tokens"), x[:, :, 0].mean(1).double())
    frames = torch.arange(8.0).view(4, 2)
    assert torch.equal(pooled(frames, 2, "m"), torch.tensor([[1.0, 2], [5, 6]], dtype=torch.float64))
    with pytest.raises(UserError, match=r"m puts out no vectors of shape \[3\]"):
        pooled(torch.zeros(3), 3, "m")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": {"audio": ["encoder.audio"], "visual": ["head"]}}, r"no submodule 'encoder.audio'; near: encoders"),
        ({"layers": {"audio": ["head"]}}, "layers names audio; needed: audio, visual"),
        ({"layers": {"audio": [], "visual": ["head"]}}, "one submodule or more"),
        ({"encoders": {"audio": "encoders.audio", "visual": "gone"}}, "encoders: the model has no submodule 'gone'"),
        ({"measures": ["probe"]}, "measure probe needs layers="),
        ({"measures": ["magic"]}, "no measure 'magic'; valid: all, permutation"),
        ({"decision": "heed"}, "decision: the model has no submodule 'heed'; near: head"),
        ({"confidence": 95}, "confidence=95 is no share"),
        ({"replicates": 50}, "50 replicates are too few .* at least 12"),
    ],
)
def test_names_that_are_none_are_refused(options: dict[str, object], words: str) -> None:
    model = toys.MLPs(dict.fromkeys(NAMES, 6), 3)
    batches = toys.batches(*toys.vectors(dict.fromkeys(NAMES, 1.0), 40, seed=0))
    with pytest.raises(UserError, match=words) as refused:
        diagnose(model, batches, modalities=NAMES, **options)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_a_submodule_of_two_modalities_is_refused() -> None:
    shared = toys.MLPs(dict.fromkeys(NAMES, 6), 3)
    shared.encoders["visual"] = shared.encoders["audio"]
    batches = toys.batches(*toys.vectors(dict.fromkeys(NAMES, 1.0), 40, seed=0))
    with pytest.raises(UserError, match=r"encoders\.audio was called 2 times in a pass"):
        diagnose(shared, batches, modalities=NAMES, layers={name: [own] for name, own in ENCODERS.items()})
