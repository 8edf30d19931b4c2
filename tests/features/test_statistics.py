"""Streaming mean and standard deviation."""

from pathlib import Path

import numpy as np
import pytest

from equimodal.features import statistics


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
def test_as_numpy_over_the_chosen_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    values = (
        (np.random.default_rng(0).normal(100, 20, (57, 3, 4, 5, 6)) * np.array([1, 0.5, 2]).reshape(1, 3, 1, 1, 1))
        .clip(0, 255)
        .astype(dtype)
    )
    np.save(tmp_path / "a.npy", values)
    rows = np.array([0, 3, 4, 30, 56])
    for piece in (1, 5000, 1 << 30):
        monkeypatch.setattr(statistics, "PIECE", piece)
        mean, std = statistics.channel_statistics(tmp_path / "a.npy", rows)
        np.testing.assert_allclose(mean, values[rows].astype(np.float64).mean(axis=(0, 2, 3, 4)), rtol=1e-12)
        np.testing.assert_allclose(std, values[rows].astype(np.float64).std(axis=(0, 2, 3, 4)), rtol=1e-12)


def test_a_large_offset_costs_no_precision(tmp_path: Path) -> None:
    values = (1e4 + np.random.default_rng(0).normal(0, 0.01, (200, 1, 50))).astype(np.float64)
    np.save(tmp_path / "a.npy", values)
    _, std = statistics.channel_statistics(tmp_path / "a.npy", np.arange(200))
    assert std == pytest.approx([values.std()], rel=1e-9)


def test_a_channel_without_spread_divides_safely(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((4, 1, 3), 7, dtype=np.uint8))
    assert statistics.channel_statistics(tmp_path / "a.npy", np.arange(4)) == ([7.0], [1.0])


def test_steps_count_only_as_far_as_they_are_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = np.array([3, 0, 5, 1, 2])
    sequences = [np.random.default_rng(row).normal(row, 2, size=(length, 4)) for row, length in enumerate(lengths)]
    stacked = np.zeros((5, 5, 4))
    for row, values in enumerate(sequences):
        stacked[row, : len(values)] = values
    np.save(tmp_path / "a.npy", stacked)
    chosen = np.array([0, 2, 4])
    steps = np.concatenate([sequences[row] for row in chosen])
    for piece in (1, 8 << 20):  # a row at a time, and all at once
        monkeypatch.setattr(statistics, "PIECE", piece)
        mean, std = statistics.step_statistics(tmp_path / "a.npy", chosen, lengths)
        assert mean == pytest.approx(steps.mean(0).tolist()) and std == pytest.approx(steps.std(0).tolist())
