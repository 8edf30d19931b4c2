"""What observers gather in one pass, against the same computed whole."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from equimodal.metrics.depth import nearest_gap
from equimodal.metrics.observe import ClassMeans, Features, Hits, TrueClassProbability, observe
from equimodal.models.framework import build_model
from equimodal.settings.training import ModelSettings

CLASSES = 3


class Data:
    """20 random samples in batches."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.inputs = {"audio": torch.randn(20, 1, 8, 10, generator=generator), "visual": torch.randn(20, 3, 2, 8, 8, generator=generator)}
        self.labels = torch.arange(20) % CLASSES

    def evaluation_batches(self, split, size):
        for part in torch.arange(20).split(size):
            yield {name: x[part] for name, x in self.inputs.items()}, self.labels[part]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_model({"audio": (1, 8, 10), "visual": (3, 2, 8, 8)}, CLASSES, ModelSettings(width=4, layers=(1, 1, 1, 1), stem_stride=1, stem_pool=False))


@pytest.fixture
def whole(model):
    model.eval()
    with torch.no_grad():
        return model(Data().inputs)


def test_hits_by_readout(model, whole):
    hits = Hits(model)
    observe(model, Data(), "test", 7, [hits])
    assert torch.equal(hits.fused, whole.logits.argmax(1))
    assert torch.equal(hits.labels, Data().labels)
    weight, bias = model.fusion.linear.weight, model.fusion.linear.bias
    width = whole.features["audio"].shape[1]
    assert torch.equal(hits.readouts["split"]["audio"], (whole.features["audio"] @ weight[:, :width].T + bias / 2).argmax(1))
    assert torch.equal(hits.readouts["zero-feature"]["visual"], (whole.features["visual"] @ weight[:, width:].T + bias).argmax(1))


def test_film_has_only_its_zero_feature_readout():
    torch.manual_seed(0)
    film = build_model({"audio": (1, 8, 10), "visual": (3, 2, 8, 8)}, CLASSES, ModelSettings(width=4, layers=(1, 1, 1, 1), fusion="film"))
    hits = Hits(film)
    observe(film, Data(), "test", 7, [hits])
    assert list(hits.readouts) == ["zero-feature"]


def test_class_means_and_s_whatever_the_batches(model, whole):
    """Eq. 9 by NumPy on the whole split."""
    means, features = ClassMeans(CLASSES), Features()
    observe(model, Data(), "train", 7, [means, features])
    prototypes = means.prototypes
    scales = {name: [nearest_gap(p) for p in line] for name, line in prototypes.items()}
    scores = TrueClassProbability(prototypes, scales)
    observe(model, Data(), "test", 6, [scores])
    labels = Data().labels.numpy()
    for name, line in whole.stages.items():
        assert torch.allclose(features.features[name], whole.features[name], atol=1e-6)
        for depth, stage in enumerate(line):
            pooled = stage.pooled.double().numpy()
            expected = np.stack([pooled[labels == k].mean(0) for k in range(CLASSES)])
            assert prototypes[name][depth].numpy() == pytest.approx(expected, abs=1e-6)
            distances = np.linalg.norm(pooled[:, None] - expected[None], axis=2) / scales[name][depth]
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
