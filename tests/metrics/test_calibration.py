"""Expected calibration error, beside a computation by hand and by loops."""

import numpy as np
import pytest
import torch

from equimodal.metrics.calibration import calibration


def test_by_hand() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.75, 0.25], [0.55, 0.45], [0.3, 0.7]])
    found = calibration(probabilities, torch.tensor([0, 1, 0, 1]), bins=5)
    # (0.4, 0.6]: 0.55, right; (0.6, 0.8]: 0.75 wrong and 0.7 right; (0.8, 1]: 0.9, right
    assert found["count"] == [0, 0, 1, 2, 1]
    assert found["accuracy"] == [None, None, 1.0, 0.5, 1.0]
    assert found["confidence"][2:] == pytest.approx([0.55, 0.725, 0.9])
    assert found["ece"] == pytest.approx((0.45 + 2 * 0.225 + 0.1) / 4)


def test_against_a_loop() -> None:
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet([0.4] * 5, 400)
    labels = draw.integers(0, 5, 400)
    total = 0.0
    for low in np.arange(15) / 15:
        inside = [
            (p.max(), p.argmax() == y)
            for p, y in zip(probabilities, labels, strict=True)
            if low < p.max() <= low + 1 / 15
        ]
        if inside:
            confidence, right = np.mean([c for c, _ in inside]), np.mean([r for _, r in inside])
            total += len(inside) / 400 * abs(confidence - right)
    assert calibration(torch.from_numpy(probabilities), torch.from_numpy(labels))["ece"] == pytest.approx(total)


def test_certain_and_right_is_perfect_and_certain_and_wrong_is_one() -> None:
    certain = torch.eye(3)
    assert calibration(certain, torch.arange(3))["ece"] == 0
    assert calibration(certain, torch.tensor([1, 2, 0]))["ece"] == 1
    assert sum(calibration(torch.full((4, 2), 0.5), torch.zeros(4, dtype=torch.int64))["count"]) == 4
