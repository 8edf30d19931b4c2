"""What observers gather in one pass, against the same computed whole."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from equimodal.evaluation.observe import ClassStatistics, Decisions, Features, TrueClassProbability, observe
from equimodal.models.framework import Outputs, Stage, build_model
from equimodal.objectives import Classification
from equimodal.settings.training import ModelSettings

CLASSES = 3
OBJECTIVE = Classification(CLASSES)


class Data:
    """20 random samples in batches."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.inputs = {
            "audio": torch.randn(20, 1, 8, 10, generator=generator),
            "visual": torch.randn(20, 3, 2, 8, 8, generator=generator),
        }
        self.labels = torch.arange(20) % CLASSES

    def evaluation_batches(self, split, size):
        for part in torch.arange(20).split(size):
            yield {name: x[part] for name, x in self.inputs.items()}, self.labels[part]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_model(
        {"audio": (1, 8, 10), "visual": (3, 2, 8, 8)},
        CLASSES,
        ModelSettings(width=4, layers=(1, 1, 1, 1), stem_stride=1, stem_pool=False),
    )


@pytest.fixture
def whole(model):
    model.eval()
    with torch.no_grad():
        return model(Data().inputs)


def test_decisions_by_readout(model, whole):
    decisions = Decisions(model, OBJECTIVE)
    observe(model, Data(), "test", 7, [decisions])
    assert torch.equal(decisions.fused, whole.logits.argmax(1))
    assert torch.equal(decisions.labels, Data().labels)
    weight, bias = model.fusion.linear.weight, model.fusion.linear.bias
    width = whole.features["audio"].shape[1]
    assert torch.equal(
        decisions.readouts["split"]["audio"], (whole.features["audio"] @ weight[:, :width].T + bias / 2).argmax(1)
    )
    assert torch.equal(
        decisions.readouts["zero-feature"]["visual"], (whole.features["visual"] @ weight[:, width:].T + bias).argmax(1)
    )


def test_film_has_only_its_zero_feature_readout():
    torch.manual_seed(0)
    film = build_model(
        {"audio": (1, 8, 10), "visual": (3, 2, 8, 8)},
        CLASSES,
        ModelSettings(width=4, layers=(1, 1, 1, 1), fusion="film"),
    )
    decisions = Decisions(film, OBJECTIVE)
    observe(film, Data(), "test", 7, [decisions])
    assert list(decisions.readouts) == ["zero-feature"]


def test_class_statistics_and_s_whatever_the_batches(model, whole):
    """Eq. 9 by NumPy on the whole split."""
    statistics, features = ClassStatistics(OBJECTIVE), Features()
    observe(model, Data(), "train", 7, [statistics, features])
    prototypes, spreads = statistics.prototypes, statistics.spreads
    scores = TrueClassProbability(prototypes, spreads, OBJECTIVE)
    observe(model, Data(), "test", 6, [scores])
    labels = Data().labels.numpy()
    for name, line in whole.stages.items():
        assert torch.allclose(features.features[name], whole.features[name], atol=1e-6)
        for depth, stage in enumerate(line):
            pooled = stage.pooled.double().numpy()
            expected = np.stack([pooled[labels == k].mean(0) for k in range(CLASSES)])
            assert prototypes[name][depth].numpy() == pytest.approx(expected, abs=1e-6)
            spread = np.sqrt(((pooled - expected[labels]) ** 2).mean(0))
            assert spreads[name][depth].numpy() == pytest.approx(np.where(spread > 1e-6, spread, 1), rel=1e-6)
            distances = np.linalg.norm((pooled[:, None] - expected[None]) / spreads[name][depth].numpy(), axis=2)
            probabilities = np.exp(-distances) / np.exp(-distances).sum(1, keepdims=True)
            assert scores.s[name][depth] == pytest.approx(probabilities[np.arange(20), labels].mean(), abs=1e-5)


def test_evaluation_mode_and_no_gradient(model):
    model.train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    seen = []
    observe(model, Data(), "test", 7, [lambda outputs, labels: seen.append(outputs.logits)])
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert not seen[0].requires_grad
    assert functional.softmax(torch.cat(seen), 1).shape == (20, CLASSES)


def test_s_follows_discriminability_and_not_the_size_of_features():
    """Twice the distance between classes raises s; features ten times as large do not change it."""

    def s_of(apart, scale):
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(300) % CLASSES
        pooled = scale * (apart * torch.eye(CLASSES, 8)[labels] + torch.randn(300, 8, generator=generator))
        outputs = Outputs(pooled, {}, {"audio": [Stage(None, None, pooled)]})
        statistics = ClassStatistics(OBJECTIVE)
        statistics(outputs, labels)
        scores = TrueClassProbability(statistics.prototypes, statistics.spreads, OBJECTIVE)
        scores(outputs, labels)
        return scores.s["audio"][0]

    assert 1 / CLASSES < s_of(1, 1) < s_of(2, 1) < s_of(4, 1) < 1
    assert s_of(2, 1e-3) == pytest.approx(s_of(2, 10), rel=1e-6)


def test_channel_that_never_changes_is_left_out():
    pooled = torch.tensor([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0], [6.0, 5.0]])
    outputs = Outputs(pooled, {}, {"audio": [Stage(None, None, pooled)]})
    statistics = ClassStatistics(Classification(2))
    statistics(outputs, torch.tensor([0, 0, 1, 1]))
    assert statistics.spreads["audio"][0].tolist() == pytest.approx([((1 + 1 + 4 + 4) / 4) ** 0.5, 1.0])
