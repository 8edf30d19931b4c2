"""Living tensors against sizes known by hand."""

import torch

from equimodal.evaluation.memory import LiveTensors

MIB = 2**18  # float32 values in a mebibyte


def test_peak_counts_what_lives_at_once_and_views_nothing():
    with LiveTensors() as memory:
        a = torch.zeros(MIB)
        b = a + 1
        view = b.view(2, -1)[1]
        del a
        c = torch.ones(2 * MIB)
    assert memory.peak == memory.live == 3 * 2**20
    del b, c
    assert memory.live == 2**20, "the view keeps its storage"
    del view
    assert memory.live == 0


def test_restart_and_tensors_from_before():
    before = torch.zeros(MIB)
    with LiveTensors() as memory:
        memory.track([before, before[1:]])
        big = before.repeat(3)
        del big
        memory.restart()
        assert memory.peak == 2**20
        before.add_(1)
        assert memory.peak == 2**20, "in place"


def test_a_backward_pass_keeps_its_activations_until_it_is_done():
    weight = torch.ones(MIB, requires_grad=True)
    with LiveTensors() as memory:
        loss = weight.exp().exp().sum()
        kept = memory.live
        loss.backward()
        after = memory.live
    assert kept == 2 * 2**20 + 4, "exp keeps its output; and the sum"
    assert after == 2**20 + 4, "the gradient stays"
