"""The linear probe against scikit-learn's logistic regression."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from equimodal.evaluation.probe import fit_probe


def blobs(n, seed=0, classes=5, width=12, apart=1.0):
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99)) * apart
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    scales = torch.linspace(0.1, 30, width)  # features of very different size, as networks have
    return (centres[labels] + torch.randn(n, width, generator=generator)) * scales, labels


@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
def test_solution_is_scikit_learns(penalty):
    features, labels = blobs(300)
    probe = fit_probe((features, labels), blobs(100, seed=1), 5, (penalty,))
    scaler = StandardScaler().fit(features.double().numpy())
    other = LogisticRegression(C=1 / (penalty * len(labels)), tol=1e-10, max_iter=5000).fit(
        scaler.transform(features.double().numpy()), labels.numpy()
    )
    assert probe.weight == pytest.approx(torch.tensor(other.coef_).numpy(), abs=5e-3)
    tested, _ = blobs(500, seed=2)
    agree = torch.tensor(other.predict(scaler.transform(tested.double().numpy()))) == probe.predict(tested)
    assert agree.double().mean() > 0.995


def test_validation_chooses_the_penalty():
    noisy = blobs(30, apart=0.4)
    validation = blobs(300, seed=1, apart=0.4)
    share = {
        p: (fit_probe(noisy, validation, 5, (p,)).predict(validation[0]) == validation[1]).double().mean()
        for p in (1.0, 1e-4)
    }
    chosen = fit_probe(noisy, validation, 5, (1.0, 1e-4))
    assert share[1.0] != share[1e-4]
    assert chosen.penalty == max(share, key=share.get)


def test_same_features_same_probe():
    first, second = (fit_probe(blobs(200), blobs(50, seed=1), 5) for _ in range(2))
    assert torch.equal(first.weight, second.weight) and torch.equal(first.bias, second.bias)


def test_dead_feature_does_no_harm():
    features, labels = blobs(100)
    features[:, 0] = 7.0
    probe = fit_probe((features, labels), (features, labels), 5)
    assert probe.weight.isfinite().all()
    assert (probe.predict(features) == labels).double().mean() > 0.9
