"""Curves as arrays."""

import numpy as np

import made_results
from equimodal.report.curves import Curves


def test_metric_by_seed_and_epoch():
    files = [made_results.curves(seed, modulated=True) for seed in range(2)]
    read = Curves(files)
    values = read.of("depth2/audio/s")
    assert values.shape == (2, made_results.EPOCHS)
    assert np.isnan(values[:, : made_results.START]).all()
    assert values[1, 5] == files[1]["epochs"][5]["metrics"]["depth2/audio/s"]
    assert read.depths() == [1, 2, 3, 4]
    assert read.epochs[0] == 1


def test_null_is_a_gap():
    file = made_results.curves(0)
    file["epochs"][4]["metrics"]["train/loss"] = None
    values = Curves([file]).of("train/loss")
    assert np.isnan(values[0, 4]) and not np.isnan(values[0, 5])


def test_joint_training_has_no_depths():
    assert Curves([made_results.curves(0)]).depths() == []
