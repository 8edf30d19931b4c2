"""Eq. 9 to 15 against identities 1, 2 and 8 of aim.md section 8."""

import math

import numpy as np
import pytest
import torch

from equimodal.methods.aim import modulation


def reference(features, prototypes, aux_features, labels, tau):
    """L_mod of one modality list at every depth in float64 NumPy, written from the paper's equations alone.

    features[d][m]: [B, C]; prototypes[d][m]: [K, C]; aux_features likewise.
    """
    total = 0.0
    rows = np.arange(len(labels))
    for depth_features, depth_prototypes, depth_aux in zip(features, prototypes, aux_features, strict=True):

        def probability(z, p):
            delta = np.sqrt(((z[:, None, :] - p[None, :, :]) ** 2).sum(-1) + 1e-12)
            e = np.exp(-delta / tau)
            return (e / e.sum(1, keepdims=True))[rows, labels]

        original = [probability(z, p) for z, p in zip(depth_features, depth_prototypes, strict=True)]
        auxiliary = [probability(z, p) for z, p in zip(depth_aux, depth_prototypes, strict=True)]
        s, s_aux = np.array([q.mean() for q in original]), np.array([q.mean() for q in auxiliary])
        exponentials = np.exp(-np.concatenate([s, s_aux]))
        rho = exponentials / exponentials.sum()
        losses = np.array([-np.log(q).mean() for q in original + auxiliary])
        alpha = np.sqrt(((s - s.mean()) ** 2).mean()) / s.mean()
        total += alpha * (rho * losses).sum()
    return total


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_agrees_with_a_float64_reference(modalities, tau):
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 5, 7)
    shapes = [(7, 6), (7, 9)]
    features = [[draw.normal(size=shape) for _ in range(modalities)] for shape in shapes]
    auxiliary = [[draw.normal(size=shape) for _ in range(modalities)] for shape in shapes]
    prototypes = [[draw.normal(size=(5, shape[1])) for _ in range(modalities)] for shape in shapes]
    expected = reference(features, prototypes, auxiliary, labels, tau)

    y = torch.from_numpy(labels)
    total = torch.zeros((), dtype=torch.float64)
    for z, p, a in zip(features, prototypes, auxiliary, strict=True):
        scores = [
            modulation.score(modulation.log_probabilities(torch.from_numpy(x), torch.from_numpy(q), tau), y)
            for x, q in zip(z, p, strict=True)
        ]
        weak = [
            modulation.score(modulation.log_probabilities(torch.from_numpy(x), torch.from_numpy(q), tau), y)
            for x, q in zip(a, p, strict=True)
        ]
        s, s_aux = torch.stack([b.s for b in scores]), torch.stack([b.s for b in weak])
        rho, rho_aux = modulation.block_weights(s, s_aux)
        depth = modulation.depth_loss(
            torch.stack([b.loss for b in scores]), torch.stack([b.loss for b in weak]), rho, rho_aux
        )
        total = total + modulation.imbalance(s) * depth
    assert float(total) == pytest.approx(expected, abs=1e-10)


def test_the_weights_of_all_blocks_sum_to_one_and_are_equal_at_equal_scores():
    for m in (2, 3, 4):
        rho, rho_aux = modulation.block_weights(torch.rand(m), torch.rand(m))
        assert float(rho.sum() + rho_aux.sum()) == pytest.approx(1, abs=1e-6)
        rho, rho_aux = modulation.block_weights(torch.full((m,), 0.4), torch.full((m,), 0.4))
        torch.testing.assert_close(torch.cat([rho, rho_aux]), torch.full((2 * m,), 1 / (2 * m)))


def test_two_modalities_keep_every_weight_between_0_109_and_0_475():
    grid = torch.cartesian_prod(*[torch.linspace(0, 1, 5, dtype=torch.float64)] * 4)
    weights = torch.stack([torch.cat(modulation.block_weights(s[:2], s[2:])) for s in grid])
    assert float(weights.min()) == pytest.approx(math.exp(-1) / (math.exp(-1) + 3), abs=1e-12)
    assert float(weights.max()) == pytest.approx(1 / (1 + 3 * math.exp(-1)), abs=1e-12)
    assert float(weights.min()) >= 0.109 and float(weights.max()) <= 0.4755


def test_without_auxiliaries_the_originals_weights_sum_to_one():
    rho, none = modulation.block_weights(torch.tensor([0.2, 0.9]))
    assert float(rho.sum()) == pytest.approx(1, abs=1e-6) and len(none) == 0 and rho[0] > rho[1]


def test_imbalance():
    assert float(modulation.imbalance(torch.tensor([0.3, 0.3, 0.3]))) == 0
    for m in (2, 3, 5):
        s = torch.zeros(m, dtype=torch.float64)
        s[1] = 0.7
        assert float(modulation.imbalance(s)) == pytest.approx(math.sqrt(m - 1), abs=1e-9)
    assert float(modulation.imbalance(torch.tensor([0.6, 0.2], dtype=torch.float64))) == pytest.approx(
        0.4 / 0.8, abs=1e-12
    )


def test_weights_scores_and_imbalance_carry_no_gradient():
    z = torch.randn(4, 3, requires_grad=True)
    block = modulation.score(modulation.log_probabilities(z, torch.randn(2, 3)), torch.tensor([0, 1, 0, 1]))
    assert block.loss.requires_grad
    s = torch.stack([block.s, block.s * 0.5])
    assert not any(t.requires_grad for t in (block.s, *modulation.block_weights(s, s), modulation.imbalance(s)))


def test_distance_has_a_finite_gradient_where_a_feature_meets_its_prototype():
    z = torch.zeros(1, 3, requires_grad=True)
    p = torch.zeros(2, 3, requires_grad=True)
    modulation.distances(z, p).sum().backward()
    assert torch.isfinite(z.grad).all() and torch.isfinite(p.grad).all()


def test_distances_keep_the_small_gaps_of_shallow_depths():
    z = torch.full((1, 64), 30.0)
    p = torch.full((1, 64), 30.0)
    p[0, 0] += 1e-3
    assert float(modulation.distances(z, p)) == pytest.approx(1e-3, rel=1e-2)


def test_half_precision_features_are_compared_in_full_precision():
    z = torch.randn(3, 4, dtype=torch.bfloat16)
    assert modulation.log_probabilities(z, torch.randn(2, 4)).dtype == torch.float32


def test_normalised_features_ignore_their_length():
    z, p = torch.randn(3, 4), torch.randn(2, 4)
    torch.testing.assert_close(
        modulation.log_probabilities(z, p, 0.2, True), modulation.log_probabilities(5 * z, 0.1 * p, 0.2, True)
    )


def test_saturation_shares():
    block = modulation.score(
        torch.log(torch.tensor([[0.999, 0.001], [0.5, 0.5], [0.995, 0.005], [0.999, 0.001]])),
        torch.tensor([0, 0, 1, 1]),
    )
    assert (float(block.low), float(block.high)) == (0.5, 0.25)


def test_gap_and_cosine_of_prototypes():
    p = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 3.0, 0.0]])
    assert float(modulation.nearest_gap(p)) == pytest.approx((math.sqrt(2) + math.sqrt(2) + 2) / 3, rel=1e-5)
    assert float(modulation.off_diagonal_cosine(p)) == pytest.approx(1 / 3, rel=1e-5)
