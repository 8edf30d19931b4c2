"""Imbalance by depth: identities of Eq. 14."""

import math

import pytest
import torch

from equimodal.evaluation.depth import imbalance, unimodal_gap
from equimodal.methods.aim import modulation
from equimodal.models.encoder import aligned_depths


def test_alpha_identities():
    assert imbalance({"a": [0.3, 0.9], "b": [0.3, 0.9]}) == [0.0, 0.0]
    assert imbalance({"a": [0.7], "b": [0.1]}) == pytest.approx([abs(0.7 - 0.1) / (0.7 + 0.1)])
    assert imbalance({"a": [0.7], "b": [0.0], "c": [0.0]}) == pytest.approx([math.sqrt(2)])
    assert imbalance({"a": [0.7]}) is None


def test_alpha_is_the_one_that_aim_trains_with():
    s = {"a": [0.42], "b": [0.13], "c": [0.3]}
    assert imbalance(s)[0] == pytest.approx(
        float(modulation.imbalance(torch.tensor([v[0] for v in s.values()], dtype=torch.float64)))
    )


def test_encoders_of_unequal_depth_are_aligned_by_relative_depth():
    assert aligned_depths({"audio": 4, "text": 3, "visual": 6}) == {
        "audio": [1, 2, 3],
        "text": [0, 1, 2],
        "visual": [1, 3, 5],
    }


def test_unimodal_gap():
    assert unimodal_gap({"a": 0.7, "b": 0.2, "c": 0.5}) == pytest.approx(0.5)
    assert unimodal_gap({"a": 0.7}) is None
