"""Parameters and operations against hand counts."""

import pytest
import torch
from torch import nn

from equimodal.evaluation import operations
from equimodal.models.framework import build_model
from equimodal.objectives import Classification
from equimodal.settings.training import ModelSettings

SHAPES = {"audio": (1, 16, 16), "visual": (3, 2, 16, 16)}
CPU = torch.device("cpu")


@pytest.fixture
def model():
    return build_model(SHAPES, 5, ModelSettings(width=4, layers=(1, 1, 1, 1), stem_stride=1, stem_pool=False))


def test_parameters_by_part(model):
    counts = operations.parameters(model)
    assert counts["total"] == sum(counts["encoders"].values()) + counts["fusion"]
    assert counts["fusion"] == 2 * 32 * 5 + 5
    assert counts["encoders"]["visual"] - counts["encoders"]["audio"] == 2 * 4 * 7 * 7  # two more input channels


def test_inference_counts_convolutions_and_the_head(model):
    expected = 0

    def count(module, inputs, output):
        nonlocal expected
        if isinstance(module, nn.Conv2d):
            expected += 2 * output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            expected += 2 * output.numel() * module.in_features

    handles = [
        module.register_forward_hook(count) for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    model.eval()
    with torch.no_grad():
        model({name: torch.zeros(1, *shape) for name, shape in SHAPES.items()})
    for handle in handles:
        handle.remove()
    assert operations.inference_flops(model, SHAPES, CPU) == expected


def test_training_is_about_three_times_inference(model):
    inference = operations.inference_flops(model, SHAPES, CPU)
    plain = operations.plain_training_flops(model, SHAPES, Classification(5), CPU)
    assert 2.5 * inference < plain < 3 * inference  # nothing flows back into the inputs


def test_work_is_counted_and_its_result_returned(model):
    inputs = {name: torch.zeros(1, *shape) for name, shape in SHAPES.items()}
    model.eval()
    counted, outputs = operations.flops_of(lambda: [model(inputs), model(inputs)])
    assert counted == pytest.approx(2 * operations.inference_flops(model, SHAPES, CPU)) and len(outputs) == 2
