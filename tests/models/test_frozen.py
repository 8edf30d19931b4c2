"""What passes apart from a batch is normalised as the batch was."""

import copy

import pytest
import torch
from torch import nn

from equimodal.models.frozen import constant, normalised_alike, running_statistics


@pytest.mark.parametrize("momenta", [(0.1, 0.1), (0.1, 0.4)])
def test_rows_that_pass_apart_are_normalised_by_the_batch_before(momenta):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3, momentum=momenta[0]), nn.ReLU(), nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4)
    ).double()
    model[4].momentum = momenta[1]
    batch = 3 * torch.randn(256, 2, 5, dtype=torch.double) + 1
    before = running_statistics(model)
    expected = model(batch)[:2]
    buffers = copy.deepcopy(dict(model.named_buffers()))
    found = normalised_alike(model, before, batch[:2])
    # Running variances are the unbiased ones: of 768 numbers, another by 1.3e-3.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-2)
    assert (model.eval()(batch[:2]) - expected).abs().max() > 0.1
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())


def test_a_model_without_batch_normalisation_is_passed_as_it_is():
    model = nn.Linear(3, 2)
    x = torch.ones(4, 3)
    assert torch.equal(normalised_alike(model, running_statistics(model), x), model(x))


def test_gradients_pass_a_constant_module_and_do_not_train_it():
    module, x = nn.Linear(3, 2), torch.randn(4, 3, requires_grad=True)
    module.bias.requires_grad_(False)
    with pytest.raises(KeyError), constant(module):
        module(x).sum().backward()
        raise KeyError
    assert module.weight.grad is None and torch.equal(x.grad, module.weight.sum(0).expand(4, 3))
    assert module.weight.requires_grad and not module.bias.requires_grad, "as they were, whatever happens inside"
